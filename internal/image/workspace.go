package image

import (
	"context"
	"fmt"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/rootfs"
	"banger/internal/queue"
)

// workspace is where images and disks are made: a bounded number of them in parallel,
// each in a temporary directory, which is removed when the work ends, however it ends.
type workspace struct {
	dir   string
	stage func() (dir string, err error) // makes a directory in dir
	turns *queue.Queue
}

// waitForTurn returns when the caller may make an image or a disk, which takes a
// processor and disk space; leave ends the caller's turn. A caller that holds a turn
// must not wait for other work of the cache.
func (w *workspace) waitForTurn(ctx context.Context, report api.Report) (leave func(), err error) {
	leave, err = w.turns.Enter(ctx, time.Now(), func(ahead int) {
		text := "waiting: other images are being made"
		if ahead > 0 {
			text += fmt.Sprintf(", %d more are queued before", ahead)
		}
		report(api.Progress{Step: "image", Message: text})
	})
	if err != nil {
		return nil, canceled(ctx)
	}
	return leave, nil
}

// within calls work with a temporary directory, and removes the directory afterwards.
func (w *workspace) within(ctx context.Context, work func(dir string) error) error {
	dir, err := w.stage()
	if err != nil {
		return err
	}
	err = work(dir)
	// The clean-up ignores that ctx has ended, but is bounded.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	if cleanErr := rootfs.Remove(ctx, dir); cleanErr != nil && err == nil {
		return api.Errorf(api.KindOf(cleanErr), "cannot remove %s: %w", dir, cleanErr)
	}
	return err
}

// make makes an image in a temporary directory.
func (w *workspace) make(ctx context.Context, work func(dir string) (api.Image, error)) (api.Image, error) {
	var made api.Image
	err := w.within(ctx, func(dir string) (err error) {
		made, err = work(dir)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return made, canceled(ctx)
	case api.KindOf(err) == api.KindNoSpace: // within a job, names are relative to the tree
		return made, api.Errorf(api.KindNoSpace, "no room in %s: %w", w.dir, err)
	}
	return made, err
}

// needSpace checks that there is space for n more bytes of decompressed data, and
// leaves some for the disks of VMs.
func (w *workspace) needSpace(n int64) error { return fsx.NeedSpace(w.dir, n+roomLeft) }

const roomLeft = 256 * mib
