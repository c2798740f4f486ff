package reflink_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"banger/internal/disk/disktest"
	"banger/internal/disk/reflink"
	"banger/internal/host/execx"
)

// imageEnv names the XFS image to mount, in the test's own process for that.
const imageEnv = "BANGER_TEST_REFLINK_IMAGE"

func TestMain(m *testing.M) {
	if image := os.Getenv(imageEnv); image != "" {
		// Nobody else sees this mount; the kernel takes it back with this process.
		dir := image + ".mnt"
		out, err := exec.Command("mount", "-t", "xfs", "-o", "loop", image, dir).CombinedOutput()
		if err != nil {
			fmt.Printf("mount: %v: %s\n", err, out)
			os.Exit(mountFailed)
		}
		os.Setenv("BANGER_TEST_REFLINK_DIR", dir)
	}
	os.Exit(m.Run())
}

const mountFailed = 99

// TestContract needs a directory with reflinks: the temporary one, that in
// BANGER_TEST_REFLINK_DIR, or as root an XFS image of its own.
func TestContract(t *testing.T) {
	dir := t.TempDir()
	if parent := os.Getenv("BANGER_TEST_REFLINK_DIR"); parent != "" {
		var err error
		if dir, err = os.MkdirTemp(parent, "reflink-*"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	if err := reflink.New().Probe(t.Context(), dir, dir); err != nil {
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("Probe left %v", left)
		}
		if os.Getenv(imageEnv) != "" {
			t.Fatalf("no reflinks in an XFS image: %v", err)
		}
		contractOnXFS(t)
		return
	}
	disktest.Run(t, reflink.New(), dir, disktest.ReadRaw, disktest.WriteRaw)
}

// contractOnXFS runs TestContract in a mount namespace where an XFS image is
// mounted.
func contractOnXFS(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: disks by reflink: this file system has none, and only root can mount one that has")
	}
	if _, err := execx.LookPath("mkfs.xfs", "xfsprogs"); err != nil {
		t.Skipf("NOT RUN: disks by reflink: this file system has none, and none can be made: %v", err)
	}
	image := filepath.Join(t.TempDir(), "xfs")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// mkfs.xfs(8): 300 MiB is the least. The file is sparse.
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(image+".mnt", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := execx.Run(t.Context(), execx.Cmd{Name: "mkfs.xfs", Args: []string{"-q", image}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestContract$", "-test.v")
	cmd.Env = append(os.Environ(), imageEnv+"="+image)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // private to it, says package syscall
	err := cmd.Run()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == mountFailed {
		t.Skipf("NOT RUN: disks by reflink: this host mounts no XFS image: %s", out.String())
	}
	if err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
	t.Logf("on an XFS image: %s", out.String())
}

func TestProbeNamesNothing(t *testing.T) { disktest.ProbeNamesNothing(t, reflink.New()) }
