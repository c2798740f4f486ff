package image

import (
	"testing"

	"go.uber.org/goleak"

	"banger/internal/host/fsx/synctest"
	"banger/internal/host/userns"
)

func TestMain(m *testing.M) {
	all := jobs()
	all[jobFullDisk], all[jobFullPull] = runFullDisk, runFullPull
	userns.Main(all)
	goleak.VerifyTestMain(m, synctest.Leak)
}
