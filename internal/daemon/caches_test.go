package daemon

import (
	"log/slog"
	"slices"
	"testing"

	"banger/api"
	"banger/internal/op"
)

type listedKernels struct {
	Kernels
	all     []api.Kernel
	deleted []string
}

func (k *listedKernels) List() ([]api.Kernel, error) { return k.all, nil }

func (k *listedKernels) Delete(ref string, inUse func(string) []string) error {
	if len(inUse(ref)) > 0 {
		return api.Errorf(api.KindConflict, "it is used")
	}
	k.deleted = append(k.deleted, ref)
	return nil
}

type noImagesToPrune struct{ Images }

func (noImagesToPrune) List() ([]api.Image, error) {
	return []api.Image{{Digest: "image", Names: []string{"mine"}, Kernel: "of an image"}}, nil
}

func (noImagesToPrune) Prune(func(string) []string, func(string) ([]int64, bool)) (api.Pruned, error) {
	return api.Pruned{Removed: []string{"image"}, ReclaimedBytes: 1}, nil
}

type usedDigests []string

func (u usedDigests) InUse(digest string) []string {
	if slices.Contains(u, digest) {
		return []string{"dev"}
	}
	return nil
}

func (usedDigests) DisksInUse(string) ([]int64, bool) { return nil, true }

func TestKernelOfAnImageIsKept(t *testing.T) {
	c := Caches{Images: noImagesToPrune{}, Kernels: &namedKernel{}, Use: usedDigests(nil)}
	err := c.DeleteKernel("of an image")
	if api.KindOf(err) != api.KindConflict || api.AsError(err).Message != "cannot delete kernel of an image: it belongs to image mine" {
		t.Errorf("it says %v", err)
	}
	if err := c.DeleteKernel("old"); err != nil {
		t.Error(err)
	}
}

type namedKernel struct{ listedKernels }

func (*namedKernel) Get(ref string) (api.Kernel, error) { return api.Kernel{Digest: ref}, nil }

func TestPruneTakesKernelsWithoutNameAndVM(t *testing.T) {
	kernels := &listedKernels{all: []api.Kernel{
		{Digest: "named", Names: []string{"default"}, SizeBytes: 10},
		{Digest: "used", SizeBytes: 100},
		{Digest: "of an image", SizeBytes: 100},
		{Digest: "old", SizeBytes: 1000},
	}}
	ops := op.NewManager(nullLog{}, slog.New(slog.DiscardHandler))
	defer ops.Close()
	o, err := Caches{Images: noImagesToPrune{}, Kernels: kernels, Ops: ops, Use: usedDigests{"used"}}.Prune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var result *api.Result
	if err := o.Follow(t.Context(), func(e api.Event) error { result = e.Result; return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kernels.deleted, []string{"old"}) {
		t.Errorf("deleted %v", kernels.deleted)
	}
	if got := result.Pruned; !slices.Equal(got.Removed, []string{"image", "old"}) || got.ReclaimedBytes != 1001 {
		t.Errorf("told %+v", got)
	}
}
