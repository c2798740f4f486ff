package agent

import (
	"errors"
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal (pty(7)). Reading its master can be given
// up by a deadline: package pty leaves a file that blocks in the kernel (os.File.Fd
// does that), so it is opened anew over the same description.
func openTerminal(size unix.Winsize) (master, slave *os.File, err error) {
	first, slave, err := pty.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	defer first.Close()
	fd, err := unix.FcntlInt(first.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
		master = os.NewFile(uintptr(fd), first.Name())
	}
	if err == nil {
		err = setSize(master, size)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("cannot prepare a terminal: %w", err), slave.Close())
	}
	return master, slave, nil
}

// setSize tells a terminal its size, and so the programs on it.
func setSize(master *os.File, size unix.Winsize) error {
	conn, err := master.SyscallConn()
	if err != nil {
		return err
	}
	failed := conn.Control(func(fd uintptr) { err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size) })
	return errors.Join(failed, err)
}
