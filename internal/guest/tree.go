package guest

import (
	"context"
	"errors"
	"iter"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/manifest"
	"banger/internal/guest/stdio"
	"banger/internal/treewatch"
)

// Tree lists what is below a directory of the guest, and calls each with its entries, as
// manifest.Read does. An error of each ends the list.
func (c *Client) Tree(ctx context.Context, path string, o manifest.Options, each func(manifest.Entry) error) error {
	o = o.WithDefaults()
	if err := o.Check(); err != nil {
		return api.Errorf(api.KindInvalid, "cannot list %w", err)
	}
	s, err := c.open(ctx, stdio.Open{Tree: &stdio.Tree{Path: path, Skip: o.Skip, Only: o.Only, Entries: o.Entries, Bytes: o.Bytes}})
	if err != nil {
		return err
	}
	defer s.Close()
	stopped := false
	err = manifest.Read(s.Stdout, o, func(e manifest.Entry) error {
		err := each(e)
		stopped = err != nil
		return err
	})
	return s.settle(ctx, "list "+path, err, stopped)
}

// Fetch fetches files below a directory of the guest, whose names are relative to it. It calls
// each with one after the other, in the order of names. An error of each ends it.
func (c *Client) Fetch(ctx context.Context, dir string, names []string, each func(manifest.Fetched) error) error {
	if err := manifest.CheckNames(names); err != nil {
		return api.Errorf(api.KindInvalid, "cannot fetch %w", err)
	}
	s, err := c.open(ctx, stdio.Open{Fetch: &stdio.Copy{Path: dir}})
	if err != nil {
		return err
	}
	defer s.Close()
	s.work.Go(func() {
		// Both fail only if the session has ended, which its output says then.
		if manifest.Request(s.Stdin, names) == nil {
			_ = s.Stdin.Close()
		}
	})
	stopped := false
	err = manifest.Receive(s.Stdout, names, func(f manifest.Fetched) error {
		err := each(f)
		stopped = err != nil
		return err
	})
	return s.settle(ctx, "fetch files of "+dir, err, stopped)
}

// PlaceFiles changes files below a directory of the guest, whose paths are relative to it. changes
// is iterated by another goroutine than the one that calls each, with one result after the other,
// in the order of the changes. An error of each ends it.
func (c *Client) PlaceFiles(ctx context.Context, dir string, changes iter.Seq[manifest.Change], each func(manifest.Placed) error) error {
	s, err := c.open(ctx, stdio.Open{Place: &stdio.Copy{Path: dir}})
	if err != nil {
		return err
	}
	defer s.Close()
	all := manifest.NewChanges()
	s.work.Go(func() {
		// Both fail only if the session has ended, which its output says then.
		if all.Send(s.Stdin, changes) == nil {
			_ = s.Stdin.Close()
		}
	})
	stopped := false
	err = all.Receive(s.Stdout, func(p manifest.Placed) error {
		if full := api.AsError(p.Err); full != nil && full.Kind == api.KindNoSpace && full.Hint == "" {
			p.Err = full.WithHint(agentproto.HintGuestRoom)
		}
		err := each(p)
		stopped = err != nil
		return err
	})
	return s.settle(ctx, "change files of "+dir, err, stopped)
}

// Watch watches a directory of the guest, and calls each with what changes, as treewatch.Watch
// does. It ends only with an error.
func (c *Client) Watch(ctx context.Context, dir string, o treewatch.Options, each func(treewatch.Event) error) error {
	s, err := c.open(ctx, stdio.Open{Watch: &stdio.Watch{Path: dir, Skip: o.Skip}})
	if err != nil {
		return err
	}
	defer s.Close()
	stopped := false
	err = manifest.ReadEvents(s.Stdout, func(e treewatch.Event) error {
		err := each(e)
		stopped = err != nil
		return err
	})
	return s.settle(ctx, "watch "+dir, err, stopped)
}

// settle returns how a session ended whose standard output was read with the result err. If the
// output ended too early, the session has the reason. If the caller has stopped it, err is its.
func (s *Session) settle(ctx context.Context, what string, err error, stopped bool) error {
	cut := errors.Is(err, manifest.ErrCut)
	switch {
	case stopped && !cut:
		return err
	case err != nil && !cut:
		return api.Errorf(api.KindOf(err), "cannot %s: %w", what, err)
	}
	if _, err := s.Wait(ctx); err != nil {
		return err
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot %s: %w", what, err)
	}
	return nil
}
