package image

import (
	"context"
	"maps"

	"banger/api"
	"banger/internal/host/userns"
	"banger/internal/image/distro"
	"banger/internal/image/rootfs"
)

// Main runs the job that this process was started for, if any, and then exits.
func Main() { userns.Main(jobs()) }

// jobs returns the jobs of everything below this package, by their names.
func jobs() map[string]userns.Job {
	all := rootfs.Jobs()
	maps.Copy(all, distro.Jobs())
	return all
}

// EmptyStaging removes the leftovers of a crash in a staging directory. The directory
// must not be in use.
func EmptyStaging(ctx context.Context, dir string) error { return rootfs.EmptyStaging(ctx, dir) }

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the work on the image was stopped: %w", context.Cause(ctx))
}
