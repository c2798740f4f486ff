package image

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
	jobUnpack    = "image-unpack"
	jobBootstrap = "image-bootstrap"
	jobPack      = "image-pack"
	jobRemove    = "image-remove"
)

// Main runs the job that this process was started for, if any, and then exits.
func Main() {
	userns.Main(map[string]userns.Job{
		jobUnpack: runUnpack, jobBootstrap: runBootstrap, jobPack: runPack, jobRemove: runRemove,
	})
}

// event is a message of a job.
type event struct {
	Progress  *api.Progress `json:"progress,omitempty"`
	Summary   *summary      `json:"summary,omitempty"`
	DiskBytes int64         `json:"disk_bytes,omitempty"`
	Lost      int           `json:"lost,omitempty"` // attributes that did not fit into the file system
}

// job runs a job, passes its progress on, and returns its last other message.
func job(ctx context.Context, report api.Report, call userns.Call) (event, error) {
	var last event
	call.Event = func(data json.RawMessage) {
		var e event
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

// enterTree makes dir the root of this process, so that no name in it reaches the host.
func enterTree(dir string) error {
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

// removeTree removes a staging directory: directly if possible, otherwise in a job, as
// the owner of all the files in it.
func removeTree(ctx context.Context, dir string) error {
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
		if err := removeTree(ctx, filepath.Join(dir, e.Name())); err != nil {
			return api.Errorf(api.KindOf(err), "cannot remove the leftovers of a crash: %w", err)
		}
	}
	return nil
}

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the work on the image was stopped: %w", context.Cause(ctx))
}
