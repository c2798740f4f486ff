package main

import (
	"context"

	"banger/api"
	"banger/internal/daemon"
)

// noImages stands in for the image cache until there is one.
type noImages struct{}

func (noImages) none() error { return api.Errorf(api.KindUnsupported, "this build has no images yet") }

func (noImages) List() ([]api.Image, error)      { return nil, nil }
func (n noImages) Get(string) (api.Image, error) { return api.Image{}, n.none() }
func (noImages) CanPull(string) bool             { return false }
func (n noImages) Pull(context.Context, api.PullImage, api.Report) (api.Image, error) {
	return api.Image{}, n.none()
}
func (n noImages) Import(context.Context, api.ImportImage, api.Report) (api.Image, error) {
	return api.Image{}, n.none()
}
func (n noImages) Delete(string) error { return n.none() }
func (n noImages) Disk(context.Context, string, int64, api.Report) (string, error) {
	return "", n.none()
}
func (n noImages) prune(context.Context, daemon.Usage, api.Report) (api.Pruned, error) {
	return api.Pruned{}, n.none()
}
