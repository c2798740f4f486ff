package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/config"
	"banger/internal/guest/filecopy"
	"banger/internal/size"
	"banger/internal/workspace/imagebuild"
)

// builderLabel is the label of a VM that builds a Dockerfile. Its value is the workspace.
const builderLabel = "banger.builder"

// builderDisk is the least size of a builder VM's disk: it has the base image, what is built, and the
// archive of that. It occupies only what is written.
const builderDisk = 20 * size.GiB

// defaultRegistry is the registry of names without one, as for `banger image pull`.
const defaultRegistry = "docker.io"

// dockerfile builds the image of a workspace's new VM.
type dockerfile struct {
	*up
	c   *client.Client
	req api.CreateVM // of that VM
}

// image makes the image that devcontainer.json's Dockerfile describes the one of the new VM. What was
// built once is not built again. An image that a flag names counts more.
func (u dockerfile) image(ctx context.Context) error {
	if u.container.Build == nil {
		return nil
	}
	u.explained()
	if u.req.Image != "" {
		u.a.std.note("not applied: %s: the image is %s, as you say", filecopy.Quote(u.container.Build.Dockerfile), u.req.Image)
		return nil
	}
	source, err := imagebuild.Open(ctx, u.w.Repo, u.ship.selection(), *u.container.Build)
	if err != nil {
		return err
	}
	key, err := source.Key(ctx)
	if err != nil {
		return err
	}
	name := labelOf(filepath.Base(u.w.Repo.Top())) + "-dockerfile:" + key
	built, err := u.c.Images().Show(ctx, name)
	switch {
	case err == nil:
		u.a.std.note("the image of %s was built %s: %s", filecopy.Quote(source.Dockerfile), ago(time.Now(), built.CreatedAt), name)
	case api.KindOf(err) == api.KindNotFound:
		err = u.buildAs(ctx, source, name)
	}
	u.project.Image = name
	return err
}

// buildAs builds an image, and names it.
func (u dockerfile) buildAs(ctx context.Context, source *imagebuild.Source, name string) error {
	began := time.Now()
	archive, err := u.inBuilder(ctx, source)
	if err != nil {
		return err
	}
	defer os.Remove(archive)
	p := u.a.std.newProgress()
	_, err = u.c.Images().Import(ctx, api.ImportImage{Path: archive, Name: name}, u.report(p))
	p.done()
	if err == nil {
		u.a.std.note("built %s of %s in %s", name, filecopy.Quote(source.Dockerfile), time.Since(began).Round(time.Second))
	}
	return err
}

// inBuilder builds in a VM of its own, which is deleted in any case, and returns the path of the
// image's archive. If this program is killed, the daemon deletes the VM: it has a lease.
func (u dockerfile) inBuilder(ctx context.Context, source *imagebuild.Source) (archive string, err error) {
	shown, _, err := u.a.settings(ctx, u.c, u.req.Profile, "")
	if err != nil {
		return "", err
	}
	registries, err := u.baseImages(ctx)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(cmp.Or(u.a.std.env("TMPDIR"), "/var/tmp")) // /tmp is often in memory
	if err != nil {
		return "", err
	}
	wanted := u.builder(valueOf(shown, "builder_image"))
	u.a.std.note("building the image of %s in VM %s", filecopy.Quote(source.Dockerfile), wanted.Name)
	p := u.a.std.newProgress()
	defer p.done()
	vm, err := u.c.VMs().Create(ctx, wanted, u.report(p))
	if err != nil {
		return "", noBuilder(err, wanted.Image)
	}
	defer u.removeBuilder(ctx, vm)
	build := imagebuild.Build{
		Source: source, Registries: registries, Dir: dir,
		Report: u.report(p),
		Show: writer(func(text []byte) error {
			p.done()
			return u.a.std.showGuestText(bytes.NewReader(text))
		}),
	}
	return build.Run(ctx, buildGuest{u.c.Guest(vm.ID)})
}

// builder is a VM that builds: as large as that of the workspace, with its network. What that one must not
// reach, the commands of its Dockerfile do not reach either.
func (u dockerfile) builder(image string) api.CreateVM {
	like := u.project.Request(u.req)
	var id [4]byte
	_, _ = rand.Read(id[:]) // it never fails
	wanted := api.CreateVM{
		Name: "banger-builder-" + hex.EncodeToString(id[:]), Image: image, Profile: like.Profile, Kernel: like.Kernel, Driver: like.Driver,
		VCPUs: like.VCPUs, MemoryBytes: like.MemoryBytes, DiskBytes: max(like.DiskBytes, builderDisk), Network: like.Network,
		Labels: map[string]string{builderLabel: u.w.Label()},
		Start:  true, AutoRemove: true, Lease: true, Force: u.force,
	}
	if image == config.BuilderImage {
		wanted.Init = api.InitSystemd // it has the modules of overlay file systems then
	}
	return wanted
}

// noBuilder adds to the error of a VM that could not be made what else is possible.
func noBuilder(err error, image string) error {
	e := api.AsError(err)
	if e == nil || e.Kind == api.KindCanceled || e.Hint != "" {
		return err
	}
	return api.Errorf(e.Kind, "cannot make the builder VM: %w", err).
		WithHint("banger image pull %s   says what its image lacks; or the setting builder_image names another one that has buildah", image)
}

// removeBuilder deletes a builder VM, also if the user has interrupted the build. If that fails, it is
// said, and the daemon deletes it later.
func (u dockerfile) removeBuilder(ctx context.Context, vm api.VM) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	if err := u.c.VMs().Delete(ctx, vm.ID, true, nil); err != nil && api.KindOf(err) != api.KindNotFound {
		u.a.std.printError(err)
	}
}

// baseImages are the user's settings for registries, without passwords.
func (u dockerfile) baseImages(ctx context.Context) (r imagebuild.Registries, err error) {
	how, err := u.registries(ctx, u.c)
	if err != nil {
		return r, err
	}
	r.Default, r.Mirrors = defaultRegistry, how.Mirrors
	if how.CAFile != "" {
		if r.CA, err = os.ReadFile(how.CAFile); err != nil {
			err = api.Errorf(api.KindInvalid, "cannot read the certificates that the setting registry_ca names: %w", err)
		}
	}
	return r, err
}

// writer is a function that writes.
type writer func([]byte) error

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) { return len(p), w(p) }

// buildGuest is the guest of a VM, for imagebuild.
type buildGuest struct{ *client.Guest }

// Run implements imagebuild.Guest.
func (g buildGuest) Run(ctx context.Context, exec api.Exec, out io.Writer) (int, error) {
	var mu sync.Mutex
	both := writer(func(p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := out.Write(p)
		return err
	})
	return runAsRoot(ctx, g.Guest, exec, func(from io.Reader) error {
		_, err := io.Copy(both, from)
		return err
	})
}
