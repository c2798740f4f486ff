package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/config"
	"banger/internal/workspace"
	"banger/internal/workspace/setups"
)

// setupCache has new VMs of a workspace begin with the result of a setup that has run before
// (ADR 34).
type setupCache struct {
	u *up
	// off: no image is used or made; always: one is made, however short the setup was.
	off, always bool

	from  *workspace.Over // what the new VM begins with, or nil
	fresh bool            // this command made the VM, and its setup begins on the image that was asked for
	req   api.CreateVM    // as it was asked for
	named string          // the name of that image, also if it is the settings'
	took  time.Duration   // by features and commands
	ran   bool            // any of them
}

// timed runs a part of the setup.
func (s *setupCache) timed(part func() error) error {
	began := time.Now()
	err := part()
	s.ran, s.took = true, s.took+time.Since(began)
	return err
}

// key names all that the result of the setup depends on. commands is the setup's key.
func (s *setupCache) key(commands string) string {
	// Lists of texts are always JSON, and no two are the same text.
	given, _ := json.Marshal([]string{commands, s.req.Profile, s.req.Kernel, s.req.Init, s.req.Tools, s.req.Network})
	sum := sha256.Sum256(given)
	return hex.EncodeToString(sum[:])
}

// create makes a VM that begins with a finished setup. ok is false if there is none for it.
func (s *setupCache) create(ctx context.Context, c *client.Client, req api.CreateVM) (vm api.VM, ok bool, err error) {
	s.req = req
	found, err := s.find(ctx, c)
	if err != nil && ctx.Err() == nil {
		s.u.a.std.note("the setup runs again: %v", err)
	}
	if err != nil || found == nil {
		return vm, false, ctx.Err()
	}
	from, err := s.request(ctx, c, req, found.Setup.Name)
	if err == nil {
		vm, err = createVM(ctx, c, s.u, from)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return vm, true, err
	case err != nil: // such as an image that is too large for the disk
		s.u.a.std.note("the setup runs again: %v", err)
		return vm, false, nil
	}
	s.from = found
	s.u.a.std.note("VM %s begins with the setup of %s", vm.Name, ago(time.Now(), found.Setup.Made))
	found.Setup.Used = time.Now()
	return vm, true, s.store().Save(found.Setup)
}

// createVM makes the VM of an up.
func createVM(ctx context.Context, c *client.Client, u *up, req api.CreateVM) (api.VM, error) {
	p := u.a.std.newProgress()
	defer p.done()
	return c.VMs().Create(ctx, req, u.report(p))
}

func (s *setupCache) store() setups.Store { return s.u.w.Setups() }

// find finds the finished setup for a new VM, or nil.
func (s *setupCache) find(ctx context.Context, c *client.Client) (*workspace.Over, error) {
	u := s.u
	if s.off || u.setUp || len(u.project.Setup)+len(u.container.Features) == 0 {
		return nil, nil
	}
	image := s.req.Image
	if image == "" {
		shown, _, err := u.a.settings(ctx, c, s.req.Profile, "")
		if err != nil {
			return nil, err
		}
		image = valueOf(shown, "image")
	}
	s.named = image
	base, err := c.Images().Show(ctx, image)
	if api.KindOf(err) == api.KindNotFound {
		return nil, nil // it is pulled now
	}
	if err != nil {
		return nil, err
	}
	commands, err := u.setupKey(base.Digest)
	if err != nil {
		return nil, err
	}
	return s.get(ctx, c, s.key(commands))
}

// get returns the finished setup of a key, if its image is there.
func (s *setupCache) get(ctx context.Context, c *client.Client, key string) (*workspace.Over, error) {
	all, err := s.store().All()
	if err != nil {
		return nil, err
	}
	for _, setup := range all {
		if setup.Key != key || setup.ID != s.u.w.SetupID(key) || setup.Stale || setup.Directory != s.u.dir {
			continue
		}
		image, err := s.image(ctx, c, &setup)
		if err != nil || image == nil {
			return nil, err
		}
		files, err := s.store().Files(setup.ID)
		return &workspace.Over{Setup: setup, Files: files}, err
	}
	return nil, nil
}

// image returns the image of a setup. If there is none any more, the setup is forgotten. An image of
// which only the record is missing is recorded: the program that had it made was killed.
func (s *setupCache) image(ctx context.Context, c *client.Client, setup *setups.Setup) (*api.Image, error) {
	image, err := c.Images().Show(ctx, setup.Name)
	switch {
	case api.KindOf(err) == api.KindNotFound:
		return nil, s.store().Remove(setup.ID)
	case err != nil:
		return nil, err
	case setup.Image == "" && image.Source == imageSource(setup.VMName) && !image.CreatedAt.Before(setup.Began):
		setup.Image, setup.Made, setup.Used = image.Digest, image.CreatedAt, image.CreatedAt
		return &image, s.store().Save(*setup)
	case setup.Image != image.Digest: // somebody has given its name to another one
		return nil, s.store().Remove(setup.ID)
	}
	return &image, nil
}

// imageSource is the Source of an image that was made of a VM.
func imageSource(vm string) string { return "VM " + vm }

// request is a request for a VM of another image than was asked for, to which the settings for that
// one apply all the same.
func (s *setupCache) request(ctx context.Context, c *client.Client, req api.CreateVM, image string) (api.CreateVM, error) {
	shown, _, err := s.u.a.settings(ctx, c, req.Profile, s.named)
	if err != nil {
		return req, err
	}
	of := config.Preset{}
	for _, v := range shown.Values {
		if strings.HasPrefix(v.Origin, config.OfImage) {
			of[v.Key] = v.Value
		}
	}
	// What is empty in a request is for the other settings, as if there were no image's.
	req.Image = image
	return of.Fill(req)
}

// over is what the directory of a VM has from the beginning, or nil.
func (s *setupCache) over(vm api.VM) (*workspace.Over, error) {
	if s.from != nil && s.from.Setup.Image == vm.ImageDigest {
		return s.from, nil
	}
	all, err := s.store().All()
	if err != nil {
		return nil, err
	}
	for _, setup := range all {
		if setup.Image != "" && setup.Image == vm.ImageDigest && setup.Directory == s.u.dir {
			files, err := s.store().Files(setup.ID)
			return &workspace.Over{Setup: setup, Files: files}, err
		}
	}
	return nil, nil
}

// name is that of a setup's image. Nobody serves images under the name of this host, so it is never
// pulled.
func (s *setupCache) name(id string) string {
	return "localhost/setup/" + freeName(filepath.Base(s.u.w.Repo.Top()), nil) + ":" + id
}
