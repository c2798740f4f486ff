package publish

import (
	"context"
	"errors"
	"os"
	"time"
)

// lookAgain is how often a forwarder checks whether its VM still exists.
const lookAgain = time.Minute

// whenRemoved calls gone when a file is removed: the VM was deleted, or all of banger
// with its data, while there was no daemon to end its forwarder. This is not urgent, so it
// polls slowly: inotify(7) would notify, but has 128 instances for all programs of
// a user (max_user_instances), and there may be more VMs.
func whenRemoved(ctx context.Context, file string, every time.Duration, gone func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) {
			gone()
			return
		}
	}
}
