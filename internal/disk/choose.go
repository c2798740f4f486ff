package disk

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"banger/api"
	"banger/internal/host/fsx"
)

// Choose returns the first driver that works for files in dir and bases in baseDir.
func Choose(ctx context.Context, drivers []Driver, dir, baseDir string) (Driver, error) {
	var reasons []error
	for _, d := range drivers {
		err := d.Probe(ctx, dir, baseDir)
		if err == nil {
			return d, nil
		}
		if ctx.Err() != nil {
			return nil, api.Errorf(api.KindCanceled, "cannot choose a disk driver: %w", context.Cause(ctx))
		}
		if api.KindOf(err) == api.KindNoSpace {
			return nil, err // no other driver needs less
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", d.Name(), err))
	}
	return nil, api.Errorf(api.KindUnsupported, "no disk driver works in %s: %w", dir, errors.Join(reasons...))
}

// Error returns the error for a verb that failed on a disk's file, with a kind that follows
// from the cause.
func Error(verb, path string, err error) error {
	switch {
	case fsx.IsNoSpace(err):
		return api.Errorf(api.KindNoSpace, "cannot %s disk %s: %w", verb, path, err).
			WithHint("free space: banger image prune, or banger vm delete NAME for a VM that nobody needs")
	case errors.Is(err, syscall.EFBIG):
		return fsx.TooLong("cannot "+verb+" disk "+path, err)
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return api.Errorf(api.KindCanceled, "cannot %s disk %s: %w", verb, path, err)
	case errors.Is(err, syscall.EEXIST):
		return api.Errorf(api.KindExists, "cannot %s disk %s: %w", verb, path, err)
	}
	return api.Errorf(api.KindInternal, "cannot %s disk %s: %w", verb, path, err)
}
