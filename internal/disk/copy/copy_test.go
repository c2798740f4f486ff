package copy_test

import (
	"testing"

	"banger/internal/disk/copy"
	"banger/internal/disk/disktest"
)

func TestContract(t *testing.T) {
	disktest.Run(t, copy.New(), t.TempDir(), disktest.ReadRaw, disktest.WriteRaw)
}
