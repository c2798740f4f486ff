package main

import (
	"banger/api"
	"banger/internal/daemon"
	"banger/internal/image"
)

// imageCache tells the cache of images what VMs use of it.
type imageCache struct{ *image.Cache }

func (c imageCache) Delete(ref string, use daemon.Usage) error {
	return c.Cache.Delete(ref, usage(use))
}

func (c imageCache) Prune(use daemon.Usage) (api.Pruned, error) {
	return c.Cache.Prune(usage(use))
}

func usage(use daemon.Usage) image.Use {
	return image.Use{Images: use.InUse, Disks: use.DisksInUse}
}
