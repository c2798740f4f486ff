package roothelper

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/fsx"
)

// lockTime is how long a helper waits for the one before it to finish. systemd waits
// longer before it starts another (TimeoutStopSec= in the unit): so this is for the
// case that it gave up on a helper, and systemd then starts this one again and again.
const lockTime = 20 * time.Second

// alone makes this the only helper that works, until release is called or the process
// ends: what keeps two requests for one VM apart is in the memory of one process. It
// gives up after most.
func alone(ctx context.Context, dir string, most time.Duration) (release func() error, err error) {
	// Nobody else may open it: whoever can, can hold the lock (flock(2)).
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if err := fsx.Flock(ctx, f); err != nil {
		return nil, api.Errorf(api.KindConflict, "another bangerd-root%s still works on a request: %w", holder(f), err).
			WithHint("it ends by itself; ps -C bangerd-root   lists them")
	}
	// A note for the error above, and no more than that.
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid()))); err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// holder names the process that has noted itself in the lock's file.
func holder(f *os.File) string {
	note := make([]byte, 16)
	n, _ := f.ReadAt(note, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(note[:n])))
	if err != nil {
		return ""
	}
	return " (process " + strconv.Itoa(pid) + ")"
}
