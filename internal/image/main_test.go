package image

import (
	"testing"

	"go.uber.org/goleak"

	"banger/internal/host/fsx/synctest"
	"banger/internal/host/userns"
)

func TestMain(m *testing.M) {
	userns.Main(map[string]userns.Job{
		jobUnpack: runUnpack, jobBootstrap: runBootstrap, jobPack: runPack, jobRemove: runRemove,
		jobFullDisk: runFullDisk, jobFullPull: runFullPull,
	})
	goleak.VerifyTestMain(m, synctest.Leak)
}
