package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"banger/api"
)

// takeLock makes this process the one daemon of an installation. The lock goes
// with the process, however it ends; the file stays and names the holder for
// people. Children do not inherit it: os opens with O_CLOEXEC.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot open the daemon's lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		return nil, api.Errorf(api.KindConflict, "a daemon is running already (pid %s)", bytes.TrimSpace(holder[:n])).
			WithHint("banger daemon stop")
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		f.Close()
		return nil, api.Errorf(api.KindInternal, "cannot take the daemon's lock %s: %w", path, err)
	}
	return f, nil
}
