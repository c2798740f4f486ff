package bootup

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGrowRoot grows a mounted file system with this host's kernel: by some block groups, and by
// more than it has reserved room for. What was on it stays.
func TestGrowRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: growing a mounted file system: only root mounts")
	}
	runtime.LockOSThread() // which ends with the test's goroutine, and the mounts with it
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("NOT TESTED: growing a mounted file system: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, at := filepath.Join(dir, "disk"), filepath.Join(dir, "at")
	command := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).Output()
		if err != nil {
			t.Fatalf("%s %v: %v", name, args, err)
		}
		return strings.TrimSpace(string(out))
	}
	command("mkfs.ext4", "-q", "-F", file, "32M")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int64{32 << 20, 200 << 20, 200<<20 + 4096, 40 << 30} {
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		device := command("losetup", "--find", "--show", file)
		err := func() error {
			if err := unix.Mount(device, at, "ext4", 0, ""); err != nil {
				return err
			}
			defer unix.Unmount(at, 0)
			if i == 0 {
				if err := os.WriteFile(filepath.Join(at, "kept"), []byte("kept"), 0o600); err != nil {
					return err
				}
			}
			return growRoot(device, at)
		}()
		command("losetup", "--detach", device)
		if errors.Is(err, unix.EPERM) { // CAP_SYS_RESOURCE, which containers often lack
			t.Skipf("NOT TESTED: growing a mounted file system: %v; TestBoot does so in a real guest", err)
		}
		if err != nil {
			t.Fatalf("to %d MiB: %v", size>>20, err)
		}
		command("e2fsck", "-fn", file)
		super := make([]byte, 1024)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.ReadAt(super, 1024)
		f.Close()
		blocks, block, sizeErr := ext4Size(super)
		if got := int64(blocks * block); err != nil || sizeErr != nil || got > size || size-got > 1<<20 {
			t.Errorf("of %d bytes the file system has %d, %v, %v", size, got, err, sizeErr)
		}
	}
	if got := command("debugfs", "-R", "cat /kept", file); got != "kept" {
		t.Errorf("what was on it is %q", got)
	}
}

// TestExt4Size reads what mke2fs writes, with 32 and 64 bits, and nothing else.
func TestExt4Size(t *testing.T) {
	le := binary.LittleEndian
	super := make([]byte, 1024)
	le.PutUint16(super[0x38:], 0xef53)
	le.PutUint32(super[4:], 7)
	le.PutUint32(super[0x150:], 1)
	le.PutUint32(super[0x18:], 2)
	if blocks, block, err := ext4Size(super); blocks != 7 || block != 4096 || err != nil {
		t.Errorf("%d blocks of %d, %v", blocks, block, err)
	}
	le.PutUint32(super[0x60:], 0x80)
	if blocks, _, err := ext4Size(super); blocks != 1<<32+7 || err != nil {
		t.Errorf("%d blocks, %v", blocks, err)
	}
	if _, _, err := ext4Size(make([]byte, 1024)); err == nil {
		t.Error("zeros are a file system")
	}
}

// TestADiskThatDoesNotGrow: the agent waits for the size that the host has promised, and no longer
// than its request lasts.
func TestADiskThatDoesNotGrow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*sizeEvery)
	defer cancel()
	if err := growMounted(ctx, file, 8192); err == nil || !strings.Contains(err.Error(), "did not grow") {
		t.Error(err)
	}
	if err := growMounted(t.Context(), file, 4096); err == nil || !strings.Contains(err.Error(), "no superblock") {
		t.Error(err)
	}
	if err := growMounted(t.Context(), file+"-absent", 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
