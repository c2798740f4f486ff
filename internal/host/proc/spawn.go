package proc

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/internal/host/execx"
)

// Command is a program to start that outlives this process.
type Command struct {
	Path string   // of the program, absolute
	Args []string // with the program's name
	Env  []string // the whole environment
	// Files are the program's descriptors, from 0 on; nil is /dev/null. It inherits no other
	// descriptor.
	Files []*os.File
}

// Spawn starts a program in a session of its own, in the directory "/".
//
// It takes no context, and does not use execx: what it starts must not end
// with a request, with this process, or with a Ctrl-C in the terminal that
// this process was started from.
func Spawn(c Command) (*Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	files := make([]*os.File, len(c.Files))
	for i, f := range c.Files {
		if files[i] = f; f == nil {
			files[i] = null
		}
	}
	if err := execx.CloseOnExec(); err != nil {
		return nil, err
	}
	child, err := os.StartProcess(c.Path, c.Args, &os.ProcAttr{
		Dir: "/", Env: append([]string{}, c.Env...), Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	// A core file would hold the memory of a guest, and be written to "/".
	_ = unix.Prlimit(child.Pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	// The child is reaped by watch. Until then its pid cannot be used again, even
	// if it has ended already.
	pid := child.Pid
	if err := child.Release(); err != nil {
		return nil, err
	}
	p, err := Open(pid)
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return nil, err
	}
	return p, nil
}
