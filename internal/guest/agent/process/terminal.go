package process

import (
	"errors"
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openTerminal creates a pseudo-terminal (pty(7)). A deadline can end a read of its master: package pty
// returns a file that blocks in the kernel (because of os.File.Fd), so the descriptor is wrapped in a
// new os.File.
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

// setSize sets the size of a terminal, which notifies its programs.
func setSize(master *os.File, size unix.Winsize) error {
	conn, err := master.SyscallConn()
	if err != nil {
		return err
	}
	failed := conn.Control(func(fd uintptr) { err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size) })
	return errors.Join(failed, err)
}
