package caches

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"testing"

	"banger/api"
	"banger/internal/op"
)

// nullLog records operations nowhere.
type nullLog struct{}

func (nullLog) BeginOperation(context.Context, api.Operation) error            { return nil }
func (nullLog) EnterStep(context.Context, string, string, bool) error          { return nil }
func (nullLog) PutBack(context.Context, string) error                          { return nil }
func (nullLog) EndOperation(context.Context, api.Event) error                  { return nil }
func (nullLog) RequestedOperation(context.Context, string) (*api.Event, error) { return nil, nil }
func (nullLog) EndedOperations(context.Context, string) ([]string, error)      { return nil, nil }
func (nullLog) EndedOperation(context.Context, string) (*api.Event, error)     { return nil, nil }

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
	return []api.Image{{Digest: "image", Kernel: "of a pruned image"}, {Digest: "other", Names: []string{"mine"}, Kernel: "of an image"}}, nil
}

func (noImagesToPrune) Prune(_ bool, _ func(string) []string, _ func(string) ([]int64, bool)) (api.Pruned, error) {
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
		{Digest: "of a pruned image", SizeBytes: 10000},
		{Digest: "old", SizeBytes: 1000},
	}}
	ops := op.NewManager(nullLog{}, slog.New(slog.DiscardHandler))
	defer ops.Close()
	c := Caches{Images: noImagesToPrune{}, Kernels: kernels, Ops: ops, Use: usedDigests{"used"}}
	dry, err := c.Prunable()
	if err != nil || len(kernels.deleted) > 0 {
		t.Errorf("a dry run deleted %v, %v", kernels.deleted, err)
	}
	o, err := c.Prune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var result *api.Result
	if err := o.Follow(t.Context(), func(e api.Event) error { result = e.Result; return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kernels.deleted, []string{"of a pruned image", "old"}) {
		t.Errorf("deleted %v", kernels.deleted)
	}
	if got := result.Pruned; !slices.Equal(got.Removed, []string{"image", "of a pruned image", "old"}) || got.ReclaimedBytes != 11001 || !reflect.DeepEqual(*got, dry) {
		t.Errorf("told %+v", got)
	}
}
