// Package instancelock lets one root helper work at a time.
package instancelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// Patience bounds how long a helper waits for the previous one to finish. systemd waits
// longer before it starts another (TimeoutStopSec= in the unit), so this matters only if
// systemd has given up on a helper; it then restarts this one repeatedly.
const Patience = 20 * time.Second

// Take makes this process the only working helper until release is called or the process
// ends, because the locks that separate two requests for one VM are in the memory of one
// process. It fails after most.
func Take(ctx context.Context, dir string, most time.Duration) (release func() error, err error) {
	// Nobody else may open it: whoever can open it can hold the lock (flock(2)).
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if err := fsx.Flock(ctx, f); err != nil {
		return nil, api.Errorf(api.KindConflict, "another bangerd-root%s still works on a request: %w", holder(f), err).
			WithHint("wait until it has ended; ps -C bangerd-root   lists them")
	}
	// Only for the error above.
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

// holder names the process whose pid is in the lock's file.
func holder(f *os.File) string {
	note := make([]byte, 16)
	n, _ := f.ReadAt(note, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(note[:n])))
	if err != nil {
		return ""
	}
	return " (process " + strconv.Itoa(pid) + ")"
}
