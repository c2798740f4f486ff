package kernel

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"banger/api"
)

// fullEnv names the directory that the test's own process mounts a small file
// system on.
const fullEnv = "BANGER_TEST_FULL_DISK"

// TestFullDisk imports into a real file system without room, in namespaces that
// end with the process that made them.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullEnv); dir != "" {
		importIntoFull(t, dir)
		return
	}
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestFullDisk$")
	cmd.Env = append(os.Environ(), fullEnv+"="+t.TempDir())
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("NOT TESTED: a full disk, because this host allows no user namespaces: %v", err)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
}

func importIntoFull(t *testing.T, dir string) {
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	c := newCacheIn(t, dir)
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	must(t, err)
	defer ballast.Close()
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	for room := int64(0); room < 10*4096; room += 4096 { // it gets full at any point
		if room > 0 {
			info, err := ballast.Stat()
			must(t, err)
			must(t, ballast.Truncate(info.Size()-4096))
		}
		if _, err := importFake(t, c, "mine"); err == nil {
			must(t, c.Delete("mine", unused))
		} else if api.KindOf(err) != api.KindNoSpace {
			t.Errorf("with %d bytes free: %v", room, err)
		} else if left, _ := c.List(); len(left) != 0 {
			t.Errorf("with %d bytes free: left %+v", room, left)
		}
		nothingStaged(t, c)
	}
	must(t, ballast.Truncate(0))
	if _, err := importFake(t, c, "mine"); err != nil {
		t.Errorf("with room: %v", err)
	}
}
