package freezer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// workGroup is the cgroup Work, as a descriptor.
type workGroup struct {
	mu  sync.Mutex
	dir *os.File
}

// open makes the group, if it is missing, and opens it.
func (w *workGroup) open(root *os.Root) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := root.Stat(procsFile); err != nil {
		return fmt.Errorf("cgroup2 is not mounted: %w", err)
	}
	if err := root.Mkdir(Work, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := root.Open(Work)
	if err != nil {
		return err
	}
	if w.dir != nil {
		w.dir.Close()
	}
	w.dir = dir
	return nil
}

// into makes a program start in the group. It keeps the descriptor from being replaced until the
// returned function is called.
func (w *workGroup) into(sys *syscall.SysProcAttr) (leave func(), ok bool) {
	w.mu.Lock()
	if w.dir == nil {
		w.mu.Unlock()
		return nil, false
	}
	sys.UseCgroupFD, sys.CgroupFD = true, int(w.dir.Fd())
	return w.mu.Unlock, true
}

// Spawn starts a program in the cgroup Work, as soon as the guest is not frozen: start starts it, with
// sys. In a guest without cgroups, or where the group cannot be used, the program starts where the
// agent is, and a freeze moves it.
func (f *Freezer) Spawn(ctx context.Context, sys *syscall.SysProcAttr, start func() error) error {
	if err := f.gate.enter(ctx); err != nil {
		return err
	}
	defer f.gate.leave()
	if f.cannot != nil || f.fake || f.isSet(Work) { // somebody in the guest has frozen it: the program would not run
		return start()
	}
	for range 2 {
		leave, ok := f.work.into(sys)
		if !ok {
			break
		}
		err := start()
		leave()
		if !unusable(err) {
			return err
		}
		// Whoever is root in the guest may have removed the group, or given it controllers, with
		// which it cannot have processes.
		if errors.Is(err, syscall.ENOSYS) || f.work.open(f.root) != nil {
			break
		}
	}
	sys.UseCgroupFD = false
	return start()
}

// unusable reports whether a program was not started because of its group (clone(2),
// CLONE_INTO_CGROUP): ENODEV if it was removed, EBADF if
// it is not one, E2BIG and ENOSYS before Linux 5.7. E2BIG may also be
// a command line that is too long; it then is again.
func unusable(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENODEV, syscall.EBADF, syscall.EBUSY, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.E2BIG} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
