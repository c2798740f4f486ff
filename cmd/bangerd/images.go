package main

import (
	"context"

	"banger/api"
	"banger/internal/daemon"
	"banger/internal/image"
)

// imageCache tells the image cache which images and disks VMs use.
type imageCache struct{ *image.Cache }

func (c imageCache) Export(ctx context.Context, ref, format string) (daemon.Export, error) {
	e, err := c.Cache.Export(ctx, ref, format)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (c imageCache) Delete(ref string, use daemon.Usage) error {
	return c.Cache.Delete(ref, usage(use))
}

func (c imageCache) Prune(use daemon.Usage) (api.Pruned, error) {
	return c.Cache.Prune(usage(use))
}

func usage(use daemon.Usage) image.Use {
	return image.Use{Images: use.InUse, Disks: use.DisksInUse}
}
