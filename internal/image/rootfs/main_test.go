package rootfs

import (
	"testing"

	"go.uber.org/goleak"

	"banger/internal/host/fsx/synctest"
	"banger/internal/host/userns"
)

func TestMain(m *testing.M) {
	userns.Main(Jobs())
	goleak.VerifyTestMain(m, synctest.Leak)
}
