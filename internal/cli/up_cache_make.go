package cli

import (
	"context"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/faultpoint"
	"banger/internal/workspace"
	"banger/internal/workspace/setups"
)

// worthKeeping is how long a setup takes at least of which an image is made on its own: to make one
// takes some seconds, in which the VM is down (ADR 34).
const worthKeeping = 10 * time.Second

// make makes an image of the VM, in which the setup has just run to its end, and no file of the host
// was copied yet. What fails is said, and stops nothing, as long as the VM runs at the end.
func (s *setupCache) make(ctx context.Context, c *client.Client, vm api.VM, sent workspace.Shipment, commands string) error {
	if wanted, err := s.wanted(ctx, c); err != nil || !wanted {
		return err
	}
	key := s.key(commands)
	id := s.u.w.SetupID(key)
	former := s.digest(id)
	setup := setups.Setup{
		ID: id, Workspace: s.u.w.Repo.Top(), Key: key, Commands: commands, Base: vm.ImageDigest, Name: s.name(id), VM: vm.ID, VMName: vm.Name,
		Began: time.Now(), Directory: sent.Directory, Features: sent.Features,
	}
	if err := s.u.w.BeginSetup(ctx, sent, setup); err != nil {
		s.failed(err)
		return ctx.Err()
	}
	faultpoint.Reach("setup", "begun")
	s.u.a.std.note("the result of the setup is kept for the next VM; this one stops for a moment")
	err := s.commit(ctx, c, vm, &setup)
	faultpoint.Reach("setup", "ended")
	if err != nil && ctx.Err() == nil { // otherwise the image may come to be: image finds out
		s.failed(err)
		if err := s.store().Remove(id); err != nil {
			s.failed(err)
		}
	}
	if err := s.start(ctx, c, vm); err != nil {
		return err
	}
	s.tidy(ctx, c, former)
	return nil
}

func (s *setupCache) failed(err error) {
	s.u.a.std.note("the result of the setup is not kept, and the next VM runs it again: %v", err)
}

// wanted reports whether an image is made. An image is for other VMs: it has nothing that the user had
// copied from this host besides the files of the workspace that git does not ignore.
func (s *setupCache) wanted(ctx context.Context, c *client.Client) (bool, error) {
	if s.off || s.u.single || !s.fresh || !s.ran || s.took < worthKeeping && !s.always || len(s.u.ship.ignored) > 0 {
		return false, nil
	}
	shown, _, err := s.u.a.settings(ctx, c, "", "") // for a profile or an image, file_sync is not listed
	if err != nil {
		return false, err
	}
	for _, v := range shown.Values {
		switch {
		case v.Key == "dotfiles" && v.Value != "", v.Key == "git_identity" && v.Value == "true", strings.HasPrefix(v.Key, "file_sync."):
			return false, nil
		}
	}
	return true, nil
}

// digest is that of the image of an earlier setup of the same key, or empty.
func (s *setupCache) digest(id string) string {
	all, err := s.store().All()
	if err != nil {
		return "" // it is only for tidying up
	}
	for _, setup := range all {
		if setup.ID == id {
			return setup.Image
		}
	}
	return ""
}

// commit stops the VM, and makes the image of it.
func (s *setupCache) commit(ctx context.Context, c *client.Client, vm api.VM, setup *setups.Setup) error {
	p := s.u.a.std.newProgress()
	defer p.done()
	if err := forgetMachine(ctx, c.Guest(vm.ID), vm); err != nil {
		return err
	}
	stopped, err := c.VMs().Stop(ctx, vm.ID, api.StopVM{}, s.u.report(p))
	if err != nil {
		return err
	}
	if strings.HasPrefix(stopped.Reason, "killed") {
		return api.Errorf(api.KindTimeout, "VM %s did not shut down: its disk may lack what was written last", vm.Name)
	}
	faultpoint.Reach("setup", "stopped")
	image, err := c.VMs().Commit(ctx, vm.ID, api.CommitVM{Name: setup.Name}, s.u.report(p))
	if err != nil {
		return err
	}
	faultpoint.Reach("setup", "committed")
	setup.Image, setup.Made, setup.Used = image.Digest, time.Now(), time.Now()
	return s.store().Save(*setup)
}

// start starts the VM again, unless it was never stopped.
func (s *setupCache) start(ctx context.Context, c *client.Client, vm api.VM) error {
	now, err := c.VMs().Show(ctx, vm.ID)
	if err != nil || now.State == api.StateRunning {
		return err
	}
	p := s.u.a.std.newProgress()
	defer p.done()
	_, err = c.VMs().Start(ctx, vm.ID, api.StartVM{Force: s.u.force}, s.u.report(p))
	return err
}

// tidy deletes the image that a new one has replaced, and those of setups that are too many, unless VMs
// use them. A failure keeps an image longer than needed; the next one tries again.
func (s *setupCache) tidy(ctx context.Context, c *client.Client, former string) {
	if former != "" {
		if image, err := c.Images().Show(ctx, former); err == nil && image.Digest == former && len(image.Names) == 0 {
			_ = c.Images().Delete(ctx, former)
		}
	}
	all, err := s.store().All()
	if err != nil {
		return
	}
	for n, setup := range all {
		image, err := s.image(ctx, c, &setup)
		if err != nil || image == nil || n < setups.Kept || len(image.UsedBy) > 0 {
			continue
		}
		if c.Images().Delete(ctx, setup.Name) == nil {
			_ = s.store().Remove(setup.ID)
		}
	}
}

// renew has no new VM begin with the results of a setup that the user runs again.
func (s *setupCache) renew(base, commands string) error {
	all, err := s.store().All()
	if err != nil {
		return err
	}
	for _, setup := range all {
		if setup.Base == base && setup.Commands == commands && !setup.Stale {
			setup.Stale = true
			if err := s.store().Save(setup); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle records the image of a VM that an earlier command, which was killed, has had made.
func (s *setupCache) settle(ctx context.Context, c *client.Client, vm api.VM) error {
	all, err := s.store().All()
	if err != nil {
		return err
	}
	for _, setup := range all {
		if setup.VM == vm.ID && setup.Image == "" {
			_, err = s.image(ctx, c, &setup)
			return err
		}
	}
	return nil
}
