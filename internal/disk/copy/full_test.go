package copy_test

import (
	"os"
	"testing"

	"banger/internal/disk/copy"
	"banger/internal/disk/disktest"
)

func TestMain(m *testing.M) {
	disktest.Main(copy.New())
	os.Exit(m.Run())
}

func TestFullDisk(t *testing.T) { disktest.FullDisk(t) }
