package daemonstart

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/host/fsx"

	"golang.org/x/sys/unix"
)

// awaitTime bounds how long a command waits for a daemon that systemd runs: a restart
// takes well under a second, and the boot of a host a few seconds.
const awaitTime = 15 * time.Second

// await waits for a daemon that systemd runs and that is being restarted.
func (d Daemon) await(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, awaitTime, errAway)
	defer cancel()
	for {
		conn, err := d.dialOrWatch(ctx)
		switch {
		case err == nil && conn != nil:
			return conn, nil
		case ctx.Err() != nil && errors.Is(context.Cause(ctx), errAway):
			return nil, api.Errorf(api.KindTimeout, "cannot reach the daemon: %w for %s", errAway, awaitTime).
				WithHint("systemctl status bangerd\njournalctl -e -u bangerd")
		case ctx.Err() != nil:
			return nil, api.Errorf(api.KindCanceled, "gave up waiting for the daemon: %w", context.Cause(ctx))
		case err != nil:
			return nil, api.Errorf(api.KindInternal, "cannot wait for the daemon: %w", err)
		}
	}
}

var errAway = errors.New("it has not been running")

// dialOrWatch connects, or waits for a change in the socket's directory and returns
// nothing. The watch begins first, so that no change is missed.
func (d Daemon) dialOrWatch(ctx context.Context) (net.Conn, error) {
	socket := d.Paths.Socket()
	changes, err := watch(filepath.Dir(socket))
	if err != nil {
		return nil, err
	}
	defer changes.Close()
	conn, err := fsx.DialUnix(ctx, socket)
	if err == nil {
		return conn, nil
	}
	if !absent(err) {
		return nil, err
	}
	return nil, changes.Wait(ctx)
}

// changed are the inotify events that may mean that the daemon listens: it binds its
// socket, then listens, then sets the socket's mode (fsx.ListenUnix).
const changed = unix.IN_CREATE | unix.IN_ATTRIB | unix.IN_MOVED_TO | unix.IN_DELETE_SELF

// watch watches dir, or its nearest existing parent directory.
func watch(dir string) (*fsx.Watcher, error) {
	changes, err := fsx.NewWatcher()
	if err != nil {
		return nil, err
	}
	for {
		_, err = changes.Add(dir, changed)
		if !errors.Is(err, unix.ENOENT) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err != nil {
		changes.Close()
		return nil, &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	return changes, nil
}
