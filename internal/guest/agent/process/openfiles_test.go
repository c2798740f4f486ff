package process

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenFiles: from its beginning a command has the limits with which the agent was started,
// however many files the agent has open.
func TestOpenFiles(t *testing.T) {
	if os.Getenv("BANGER_TEST_OPEN_FILES") == "" {
		self := exec.Command("/bin/sh", "-c", `ulimit -Sn 100 && ulimit -Hn 1000 && exec "$0" -test.run='^TestOpenFiles$' -test.count=1`, os.Args[0])
		self.Env = append(os.Environ(), "BANGER_TEST_OPEN_FILES=1")
		if out, err := self.CombinedOutput(); err != nil {
			t.Errorf("%s%v", out, err)
		}
		return
	}
	for range 500 {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	child, err := NewReaper(false).Start("/bin/sh", []string{"sh", "-c", "echo $(ulimit -Sn) $(ulimit -Hn)"}, &syscall.ProcAttr{Files: []uintptr{0, w.Fd(), 2}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = syscall.Wait4(child.PID(), nil, 0, nil) }()
	got := make([]byte, 20)
	n, err := r.Read(got)
	if err != nil || strings.TrimSpace(string(got[:n])) != "100 1000" {
		t.Errorf("%q, %v", got[:n], err)
	}
}
