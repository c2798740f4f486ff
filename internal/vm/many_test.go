package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/paths"
)

const (
	manyVMs       = 1000
	manyProcesses = 2000
)

// crowd starts processes that do nothing, in a group of their own, and ends them with the
// test.
func crowd(t testing.TB, n int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", fmt.Sprintf("for n in $(seq %d); do sleep 600 & done; echo; wait", n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// stoppedVMs records VMs that have been run, with what that leaves in their directories.
func (w *world) stoppedVMs(n int) {
	w.t.Helper()
	began := time.Now()
	for i := range n {
		v := api.VM{
			ID: op.NewID(), Name: fmt.Sprintf("vm%d", i), State: api.StateStopped, Image: "tiny", ImageDigest: digest, Kernel: "0.0-fake", KernelDigest: digest,
			Driver: "fake", DiskDriver: "copy", VCPUs: 1, MemoryBytes: 256 * mib, DiskBytes: 64 * mib, CreatedAt: began.Add(time.Duration(i)), StartedAt: &began, StoppedAt: &began,
		}
		if err := w.store.AddVM(w.t.Context(), v); err != nil {
			w.t.Fatal(err)
		}
		if err := os.MkdirAll(w.Paths.VM(v.ID), 0o700); err != nil {
			w.t.Fatal(err)
		}
		for _, name := range []string{paths.VMDisk, paths.VMConsole, paths.VMHandles} {
			if err := os.WriteFile(filepath.Join(w.Paths.VM(v.ID), name), []byte("{}"), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// TestManyStoppedVMs: a daemon with a thousand VMs that do not run, beside two thousand
// processes, answers within a second. It is the work that is measured: the machine may be
// busy with other things.
func TestManyStoppedVMs(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: a start with many stopped VMs, with -short")
	}
	w := newWorld(t)
	w.stoppedVMs(manyVMs)
	crowd(t, manyProcesses)
	w.leave()
	w.build()
	began, before := time.Now(), processorTime(t)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := processorTime(t) - before
	t.Logf("it took %s of a processor, %s in all", took, time.Since(began))
	if took >= time.Second {
		t.Errorf("it took %s", took)
	}
	if all, err := w.List(t.Context()); err != nil || len(all) != manyVMs {
		t.Errorf("%d VMs, %v", len(all), err)
	}
	w.leave()
	w.home = t.TempDir() // rather than delete them all
	w.enter()
}

// processorTime is what this process has used of processors.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
