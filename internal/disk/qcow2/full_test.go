package qcow2_test

import (
	"os"
	"testing"

	"banger/internal/disk/disktest"
	"banger/internal/disk/qcow2"
)

func TestMain(m *testing.M) {
	disktest.Main(qcow2.New())
	os.Exit(m.Run())
}

func TestFullDisk(t *testing.T) { disktest.FullDisk(t) }
