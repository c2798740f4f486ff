package fakes

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/image"
	"banger/internal/kernel"
	"banger/internal/paths"
	"banger/test/harness"
)

// Nowhere is a proxy that is not there: what looks like the name of an image is
// looked for in registries, and sessions ask none but those of their own.
const Nowhere = "http://127.0.0.1:9"

// Agent writes a file into dir that stands in for the guest's agent: fake machines have
// it in them.
func Agent(dir string) (string, error) {
	path := filepath.Join(dir, "banger-agent")
	return path, os.WriteFile(path, []byte("an agent\n"), 0o755)
}

// Home is a home with a fake kernel and an image, tiny, that has nothing but busybox in
// it, and the smallest disk, in bytes, that the image fits. It is made once.
func Home(ctx context.Context) (home string, disk int64, err error) {
	recipe, err := harness.Sources(ctx, "internal/digeststore", "internal/image", "internal/image/distro", "internal/image/rootfs", "internal/image/tarball", "internal/kernel", "internal/host/userns", "test/harness")
	if err != nil {
		return "", 0, err
	}
	home, err = harness.Once("home-fake", recipe, func(dir string) error { return fill(ctx, dir) })
	if err != nil {
		return "", 0, err
	}
	scratch, err := os.MkdirTemp("", "banger-apt-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(scratch)
	images, err := image.Open(PathsOf(home), apt.New(scratch))
	if err != nil {
		return "", 0, err
	}
	tiny, err := images.Get("tiny")
	return home, tiny.DiskBytes, err
}

// PathsOf are the paths below a home, as BANGER_HOME has it.
func PathsOf(home string) paths.Paths {
	return paths.Paths{Data: filepath.Join(home, "data"), Cache: filepath.Join(home, "cache"), Config: home}
}

func fill(ctx context.Context, home string) error {
	p := PathsOf(home)
	kernels, err := kernel.Open(p, apt.New(p.Apt()))
	if err != nil {
		return err
	}
	images, err := image.Open(p, apt.New(p.Apt()))
	if err != nil {
		return err
	}
	parts, err := os.MkdirTemp("", "banger-parts-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(parts)
	if err := harness.FakeKernel(parts, "the default one"); err != nil {
		return err
	}
	silent := func(api.Progress) {}
	_, err = kernels.Import(ctx, api.ImportKernel{
		Path: filepath.Join(parts, "vmlinux"), Modules: filepath.Join(parts, "modules"), Name: "fake",
	}, silent)
	if err != nil {
		return err
	}
	archive := filepath.Join(parts, "busybox.tar")
	if err := harness.BusyboxTar(archive); err != nil {
		return err
	}
	_, err = images.Import(ctx, api.ImportImage{Path: archive, Name: "tiny"}, silent)
	return err
}
