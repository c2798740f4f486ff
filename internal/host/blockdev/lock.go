package blockdev

import (
	"context"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

// Locks are on bytes of the loop driver's node, one for each possible id and one more
// (open file description locks, fcntl(2)): they exclude both goroutines and processes,
// and the kernel releases those of a process that dies. The order is: the VM's lock,
// then that of the loop devices.

// loopsByte is above all ids, which have 48 bits.
const loopsByte = 1 << 48

// lockVM excludes other calls from attaching and detaching the VM's disk.
func lockVM(ctx context.Context, id string) (unlock func(), err error) {
	n, err := strconv.ParseInt(id, 16, 64)
	if !vmid.Valid(id) || err != nil {
		return nil, api.Errorf(api.KindInvalid, "%q is not a valid VM id", id)
	}
	return lock(ctx, n)
}

// lockLoops excludes other calls from binding loop devices between the search for a
// device and the binding of a new one.
func lockLoops(ctx context.Context) (unlock func(), err error) { return lock(ctx, loopsByte) }

func lock(ctx context.Context, at int64) (unlock func(), err error) {
	f, err := openLoopControl()
	if err != nil {
		return nil, err
	}
	err = lockByte(f, unix.F_OFD_SETLK, at)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return waitLock(ctx, f, at)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// waitLock waits for the lock, or for the end of ctx. The wait itself cannot be
// interrupted: a lock that comes later is released.
func waitLock(ctx context.Context, f *os.File, at int64) (unlock func(), err error) {
	locked := make(chan error, 1)
	go func() { locked <- lockByte(f, unix.F_OFD_SETLKW, at) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, err
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() {
			_ = <-locked
			f.Close()
		}()
		return nil, context.Cause(ctx)
	}
}

func lockByte(f *os.File, command int, at int64) error {
	for {
		err := unix.FcntlFlock(f.Fd(), command, &unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1})
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fcntl F_OFD_SETLK", err)
		}
	}
}
