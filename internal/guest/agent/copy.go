package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/filecopy"
	"banger/internal/guest/manifest"
	"banger/internal/guest/stdio"
	"banger/internal/host/fsx"
	"banger/internal/treewatch"
)

// copying is a job that copies files, or describes a path for one that does.
type copying struct {
	verb string
	path string // the client's name for it
	work func(ctx context.Context, m *stdio.Mux) (*stdio.Stat, error)
}

// newPut unpacks a tar stream and preserves owners, as tar does for root.
func (s *server) newPut(c stdio.Copy) copying {
	return copying{"copy to", c.Path, func(ctx context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		return nil, filecopy.UnpackTar(ctx, m.In(stdio.Stdin), s.inGuest(c.Path), target(m, true))
	}}
}

func (s *server) newGet(c stdio.Copy) copying {
	return copying{"copy", c.Path, func(_ context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		path := s.inGuest(c.Path)
		name := filepath.Base(path)
		if name == "/" {
			name = "."
		}
		return nil, filecopy.PackTar(m.Out(stdio.Stdout), path, name, warner(m))
	}}
}

func (s *server) newCopyIn(sess *session, c stdio.Copy) copying {
	return copying{"copy to", c.Path, func(_ context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		s.sessions.endOrphans(sess, c)
		return nil, filecopy.Receive(m.In(stdio.Stdin), m.Out(stdio.Stdout), s.inGuest(c.Path), c.Name, target(m, c.Archive), nil)
	}}
}

func (s *server) newCopyOut(c stdio.Copy) copying {
	return copying{"copy", c.Path, func(ctx context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		return nil, filecopy.Send(ctx, m.In(stdio.Stdin), m.Out(stdio.Stdout), s.inGuest(c.Path), c.Name, nil)
	}}
}

func (s *server) newTree(t stdio.Tree) copying {
	return copying{"list", t.Path, func(ctx context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		o := manifest.Options{Skip: t.Skip, Only: t.Only, Entries: t.Entries, Bytes: t.Bytes}
		return nil, fsx.Cause(manifest.List(ctx, m.Out(stdio.Stdout), s.inGuest(t.Path), o))
	}}
}

func (s *server) newFetch(c stdio.Copy) copying {
	return copying{"fetch files of", c.Path, func(ctx context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		return nil, fsx.Cause(manifest.Serve(ctx, m.In(stdio.Stdin), m.Out(stdio.Stdout), s.inGuest(c.Path)))
	}}
}

func (s *server) newPlace(c stdio.Copy) copying {
	return copying{"change files of", c.Path, func(ctx context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		return nil, fsx.Cause(manifest.Place(ctx, m.In(stdio.Stdin), m.Out(stdio.Stdout), s.inGuest(c.Path)))
	}}
}

func (s *server) newWatch(t stdio.Watch) copying {
	return copying{"watch", t.Path, func(ctx context.Context, m *stdio.Mux) (*stdio.Stat, error) {
		return nil, fsx.Cause(treewatch.Watch(ctx, s.inGuest(t.Path), treewatch.Options{Skip: t.Skip}, func(e treewatch.Event) error {
			return manifest.WriteEvent(m.Out(stdio.Stdout), e)
		}))
	}}
}

func (s *server) newStat(c stdio.Copy) copying {
	return copying{"look at", c.Path, func(context.Context, *stdio.Mux) (*stdio.Stat, error) {
		path := s.inGuest(c.Path)
		info, err := os.Stat(path)
		if target, dangling := os.Readlink(path); errors.Is(err, fs.ErrNotExist) && dangling == nil {
			return nil, &danglingError{target, fsx.Cause(err)}
		}
		if err != nil {
			return nil, fsx.Cause(err)
		}
		return &stdio.Stat{Name: filepath.Base(path), Mode: uint32(info.Mode()), Size: info.Size(), IsDir: info.IsDir()}, nil
	}}
}

// danglingError is the error of a symbolic link whose target does not exist.
type danglingError struct {
	target string
	cause  error
}

func (e *danglingError) Error() string {
	return "it is a symbolic link to " + filecopy.Quote(e.target) + ", which does not exist"
}
func (e *danglingError) Unwrap() error { return e.cause }

// target returns the options for creating files in the guest: symbolic links of the guest, such
// as /lib, are followed.
func target(m *stdio.Mux, archive bool) filecopy.Options {
	return filecopy.Options{Archive: archive, FollowLinks: true, Warn: warner(m)}
}

func warner(m *stdio.Mux) func(name, what string) {
	return func(name, what string) {
		fmt.Fprintf(m.Out(stdio.Stderr), "banger: %s %s\n", filecopy.Quote(name), what)
	}
}

// inGuest resolves a client's path: relative ones begin at the home directory.
func (s *server) inGuest(path string) string {
	if !filepath.IsAbs(path) && s.Root == "" {
		path = filepath.Join(s.programs.Home(), path)
	}
	return filepath.Join(cmp.Or(s.Root, "/"), path)
}

func (c copying) run(ctx context.Context, m *stdio.Mux) stdio.Exit {
	// A pipe that is reset ends reads and writes; nothing else here can block.
	stat, err := c.work(ctx, m)
	if err != nil {
		return stdio.Exit{Error: c.explain(err)}
	}
	return stdio.Exit{Stat: stat}
}

func (c copying) explain(err error) *api.Error {
	switch kind := filecopy.KindOf(err); kind {
	case api.KindNoSpace:
		return api.Errorf(kind, "cannot %s %s in the guest: its disk is full: %w", c.verb, c.path, err).
			WithHint(agentproto.HintGuestRoom)
	case api.KindNotFound:
		if dangling := (*danglingError)(nil); errors.As(err, &dangling) {
			return api.Errorf(kind, "cannot %s %s in the guest: %w", c.verb, c.path, dangling)
		}
		return api.Errorf(kind, "cannot %s %s in the guest: no such file or directory", c.verb, c.path)
	default:
		return api.Errorf(kind, "cannot %s %s in the guest: %w", c.verb, c.path, err)
	}
}

func (copying) signal(int)            {}
func (copying) resize(uint16, uint16) {}
