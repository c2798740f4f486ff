// Package fsx adds to the standard library's file functions: atomic writes, Unix
// sockets with long paths, sizes on disk.
package fsx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A socket address has at most 108 bytes (unix(7)). A socket with a longer path is
// accessed through its directory's descriptor in /proc/self/fd.

// ListenUnix listens on a socket at path, which may be of any length, with mode 0600.
// It replaces an existing socket: callers hold a lock. Closing the listener does not
// remove the file.
func ListenUnix(path string) (*net.UnixListener, error) {
	dir, short, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, errors.Unwrap(err))
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// DialUnix connects to the socket at path, which may be of any length.
func DialUnix(ctx context.Context, path string) (*net.UnixConn, error) {
	dir, short, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", short)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", path, errors.Unwrap(err))
	}
	return c.(*net.UnixConn), nil
}

// shortPath opens path's directory and names path through it.
func shortPath(path string) (*os.File, string, error) {
	fd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	dir := os.NewFile(uintptr(fd), filepath.Dir(path))
	return dir, fmt.Sprintf("/proc/self/fd/%d/%s", fd, filepath.Base(path)), nil
}
