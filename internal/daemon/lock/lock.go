// Package lock makes a process the only daemon of an installation.
package lock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

const (
	// limit bounds the wait for a daemon that is stopping: it finishes requests for two seconds, and
	// then steps that cannot be interrupted.
	limit = 45 * time.Second
	// pause is how often the lock is tried until then.
	pause = 20 * time.Millisecond
)

// Take makes this process the only daemon of an installation. The lock ends with the process,
// however it ends; the file stays and names the holder for people, if the disk has space. Children do
// not inherit it: os opens with O_CLOEXEC. If another daemon listens on socket, Take fails
// immediately; if it does not listen, it is stopping, and Take waits for it as long as ctx and
// limit allow. If socket is empty, Take does not wait.
func Take(ctx context.Context, path, socket string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fsx.DiskError("open the daemon's lock", err)
	}
	if err := await(ctx, f, socket); err != nil {
		f.Close()
		return nil, err
	}
	pid := fmt.Appendf(nil, "%d\n", os.Getpid())
	_, err = f.WriteAt(pid, 0)
	if fsx.IsNoSpace(err) {
		_ = f.Truncate(0) // it may name another
		return f, nil
	}
	if err == nil {
		err = f.Truncate(int64(len(pid)))
	}
	if err != nil {
		f.Close()
		return nil, api.Errorf(api.KindInternal, "cannot take the daemon's lock %s: %w", path, err)
	}
	return f, nil
}

func await(ctx context.Context, f *os.File, socket string) error {
	for giveUp := time.Now().Add(limit); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return api.Errorf(api.KindInternal, "cannot take the daemon's lock %s: %w", f.Name(), err)
		}
		switch {
		case socket == "" || listens(ctx, socket):
			return api.Errorf(api.KindConflict, "a daemon is running already (pid %s)", holder(f)).WithHint("banger daemon stop")
		case time.Now().After(giveUp):
			return api.Errorf(api.KindTimeout, "the daemon before (pid %s) has not ended within %s", holder(f), limit).
				WithHint("kill -9 %s", holder(f))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return api.Errorf(api.KindCanceled, "gave up waiting for the daemon before: %w", context.Cause(ctx))
		}
	}
}

// holder returns the pid of the daemon that holds the lock.
func holder(f *os.File) []byte {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	if n == 0 {
		return []byte("unknown")
	}
	return bytes.TrimSpace(text[:n])
}

// listens reports whether a daemon accepts requests.
func listens(ctx context.Context, socket string) bool {
	conn, err := fsx.DialUnix(ctx, socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
