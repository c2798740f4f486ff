package faultpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the program that dies.
func TestMain(m *testing.M) {
	if os.Getenv("FAULTPOINT_TEST") != "" {
		Reach("vm.run", "disk", "before")
		Reach("vm.run", "disk", "after")
		os.Exit(7)
	}
	os.Exit(m.Run())
}

func TestDiesOnceAtTheNamedPoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "point")
	run := func() syscall.WaitStatus {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FAULTPOINT_TEST=1", Env+"="+path)
		_ = cmd.Run()
		return cmd.ProcessState.Sys().(syscall.WaitStatus)
	}
	if s := run(); s.ExitStatus() != 7 {
		t.Errorf("without a file: %v", s)
	}
	if err := os.WriteFile(path, []byte("vm.run disk after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := run(); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Errorf("at the point: %v", s)
	}
	if s := run(); s.ExitStatus() != 7 {
		t.Errorf("a second time: %v", s)
	}
}

// TestRecords: the points that are reached are in the file.
func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "point")
	if err := os.WriteFile(path, []byte(Record), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAULTPOINT_TEST=1", Env+"="+path)
	_ = cmd.Run()
	data, err := os.ReadFile(path)
	if want := Record + "vm.run disk before\nvm.run disk after\n"; err != nil || string(data) != want || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%q, %v, %v", data, err, cmd.ProcessState)
	}
}

// TestWaits: with a pipe on the second line, the program waits at the point, once, and continues.
func TestWaits(t *testing.T) {
	dir := t.TempDir()
	path, pipe := filepath.Join(dir, "point"), filepath.Join(dir, "pipe")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.WriteFile(path, []byte("vm.run disk before\n"+pipe), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAULTPOINT_TEST=1", Env+"="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_WRONLY, 0) // once the program waits
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(cmd.Process.Pid, 0); err != nil {
		t.Errorf("while it waits: %v", err)
	}
	f.Close()
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}
