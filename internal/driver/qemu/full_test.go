package qemu_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/driver"
)

// fullEnv is set in the mount namespace in which TestFullDisk fills a disk.
const fullEnv = "BANGER_QEMU_FULL"

// TestFullDisk: when the disk fills up in the middle of a save, the machine continues.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: real guests")
	}
	if os.Getenv(fullEnv) == "" {
		if _, err := bootFiles(); err != nil { // those of the user, not of the namespace's root
			t.Fatal(err)
		}
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		again.Env = append(os.Environ(), fullEnv+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := again.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=20M"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	m, err := newDriver(t).Start(t.Context(), spec(t, "00000000000a"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	defer m.Kill(context.WithoutCancel(t.Context()))
	answering(t, m)
	if err := m.(driver.Saver).Save(t.Context(), dir); api.KindOf(err) != api.KindNoSpace {
		t.Errorf("saved on a disk that is too small: %v", err)
	} else {
		t.Log(err)
	}
	continues(t, m, dir)
}
