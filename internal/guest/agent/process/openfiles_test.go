package process

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenFiles: from its beginning a command has the usual soft limit, however many files the agent
// may open, and its hard one.
func TestOpenFiles(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	// As the agent does: from now on children begin with what this process has.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Max, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(min(softOpenFiles, limit.Max))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	reaper := NewReaper(false)
	child, err := reaper.Start("/bin/sh", []string{"sh", "-c", "ulimit -Sn"}, &syscall.ProcAttr{Env: []string{"PATH=/usr/bin:/bin"}, Files: []uintptr{0, w.Fd(), 2}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = syscall.Wait4(child.PID(), nil, 0, nil) }()
	got := make([]byte, 20)
	n, err := r.Read(got)
	if err != nil || strings.TrimSpace(string(got[:n])) != want {
		t.Errorf("%q, %v", got[:n], err)
	}
}
