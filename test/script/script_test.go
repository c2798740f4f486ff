package script

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"banger/api"
	"banger/internal/apt"
	"banger/internal/image"
	"banger/internal/kernel"
	"banger/internal/paths"
	"banger/test/harness"
	"banger/test/harness/session"
)

// settings is config.toml: small machines, short waits.
const settings = `driver = "fake"
image = "tiny"
vcpus = 1
memory = "256M"
disk = "%dM"
boot_timeout = "20s"
grace = "5s"
`

// nowhere is a proxy that is not there: what looks like the name of an image is
// looked for in registries, and sessions ask none but those of their own.
const nowhere = "http://127.0.0.1:9"

func TestScripts(t *testing.T) {
	template, size := template(t)
	options := session.Options{
		Dir: "testdata", Template: template, Config: fmt.Sprintf(settings, size>>20),
		Env: []string{"BANGER_AGENT=" + agent(t), "DRIVER=fake", "KERNEL=fake", "RELEASE=" + harness.KernelRelease, "ROOT=/.*/fake-root", "BYTES=40000000",
			"HTTPS_PROXY=" + nowhere},
	}
	options.Idle = session.Measure(t, options)
	session.Run(t, options)
}

// agent is a file that stands in for the guest's agent: fake machines have it
// in them.
func agent(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "banger-agent")
	if err := os.WriteFile(path, []byte("an agent\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// template is a home with a fake kernel and an image that has nothing but
// busybox in it, and the smallest disk that image fits.
func template(t *testing.T) (home string, size int64) {
	ctx := t.Context()
	recipe, err := harness.Sources(ctx, "internal/image", "internal/kernel", "internal/userns", "test/harness")
	if err != nil {
		t.Fatal(err)
	}
	home, err = harness.Once("home-fake", recipe, func(dir string) error { return fill(ctx, dir) })
	if err != nil {
		t.Fatal(err)
	}
	images, err := image.Open(pathsOf(home), apt.New(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	tiny, err := images.Get("tiny")
	if err != nil {
		t.Fatal(err)
	}
	return home, tiny.DiskBytes
}

func pathsOf(home string) paths.Paths {
	return paths.Paths{Data: filepath.Join(home, "data"), Cache: filepath.Join(home, "cache"), Config: home}
}

func fill(ctx context.Context, home string) error {
	p := pathsOf(home)
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
