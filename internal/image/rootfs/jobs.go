package rootfs

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/host/userns"
)

// The names of the jobs.
const (
	jobUnpack = "image-unpack"
	jobPack   = "image-pack"
	jobRemove = "image-remove"
)

// Jobs returns this package's jobs by their names, for userns.Main.
func Jobs() map[string]userns.Job {
	return map[string]userns.Job{jobUnpack: runUnpack, jobPack: runPack, jobRemove: runRemove}
}

// Event is a message of a job.
type Event struct {
	Progress  *api.Progress `json:"progress,omitempty"`
	Summary   *Summary      `json:"summary,omitempty"`
	DiskBytes int64         `json:"disk_bytes,omitempty"`
	Lost      int           `json:"lost,omitempty"` // attributes that did not fit into the file system
}

// Run runs a job, passes its progress on, and returns its last other message.
func Run(ctx context.Context, report api.Report, call userns.Call) (Event, error) {
	var last Event
	call.Event = func(data json.RawMessage) {
		var e Event
		if json.Unmarshal(data, &e) != nil {
			return
		}
		if e.Progress != nil {
			report(*e.Progress)
			return
		}
		last = e
	}
	err := userns.Run(ctx, call)
	return last, err
}

// Enter makes dir the root of this process, so that no name in it reaches the host. Only
// a job may call it.
func Enter(dir string) error {
	if err := syscall.Chroot(dir); err != nil {
		return &os.PathError{Op: "chroot", Path: dir, Err: err}
	}
	return os.Chdir("/")
}

// runRemove removes trees, whoever owns their files.
func runRemove(_ context.Context, args []string, _ func(any)) error {
	for _, dir := range args {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a staging directory: directly if possible, otherwise in a job, as the
// owner of all the files in it.
func Remove(ctx context.Context, dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	return userns.Run(ctx, userns.Call{Job: jobRemove, Args: []string{dir}})
}

// EmptyStaging removes the leftovers of a crash in a staging directory. The directory
// must not be in use.
func EmptyStaging(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fsx.DiskError("list the leftovers of a crash", err)
	}
	for _, e := range entries {
		if err := Remove(ctx, filepath.Join(dir, e.Name())); err != nil {
			return api.Errorf(api.KindOf(err), "cannot remove the leftovers of a crash: %w", err)
		}
	}
	return nil
}
