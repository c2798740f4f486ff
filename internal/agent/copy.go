package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"banger/api"
	"banger/internal/stdio"
	"banger/internal/tarcopy"
)

// copying is a job that moves a tar stream, or looks at a path for one that does.
type copying struct {
	verb string
	path string // as the client names it
	work func(m *stdio.Mux, warn func(path, what string)) (*stdio.Stat, error)
}

func (s *server) newPut(c stdio.Copy) copying {
	return copying{"copy to", c.Path, func(m *stdio.Mux, warn func(string, string)) (*stdio.Stat, error) {
		return nil, tarcopy.Unpack(m.In(stdio.Stdin), s.inGuest(c.Path), warn)
	}}
}

func (s *server) newGet(c stdio.Copy) copying {
	return copying{"copy", c.Path, func(m *stdio.Mux, warn func(string, string)) (*stdio.Stat, error) {
		path := s.inGuest(c.Path)
		name := filepath.Base(path)
		if name == "/" {
			name = "."
		}
		return nil, tarcopy.Pack(m.Out(stdio.Stdout), path, name, warn)
	}}
}

func (s *server) newStat(c stdio.Copy) copying {
	return copying{"look at", c.Path, func(*stdio.Mux, func(string, string)) (*stdio.Stat, error) {
		path := s.inGuest(c.Path)
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		return &stdio.Stat{Name: filepath.Base(path), Mode: uint32(info.Mode()), Size: info.Size(), IsDir: info.IsDir()}, nil
	}}
}

// inGuest resolves a client's path: relative ones begin at the home directory.
func (s *server) inGuest(path string) string {
	if !filepath.IsAbs(path) && s.Root == "" {
		path = filepath.Join(s.root().home, path)
	}
	return filepath.Join(cmp.Or(s.Root, "/"), path)
}

func (c copying) run(ctx context.Context, m *stdio.Mux) stdio.Exit {
	// A pipe that is reset ends reads and writes; nothing else here can block.
	stat, err := c.work(m, func(path, what string) {
		fmt.Fprintf(m.Out(stdio.Stderr), "banger: %s is %s: skipped\n", path, what)
	})
	if err != nil {
		return stdio.Exit{Error: c.explain(err)}
	}
	return stdio.Exit{Stat: stat}
}

func (c copying) explain(err error) *api.Error {
	kind := api.KindInternal
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return api.Errorf(api.KindNoSpace, "cannot %s %s in the guest: its disk is full: %w", c.verb, c.path, err).
			WithHint("remove files in the guest, or create a VM with a larger --disk")
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(api.KindNotFound, "cannot %s %s in the guest: no such file or directory", c.verb, c.path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = api.KindDenied
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, io.ErrUnexpectedEOF):
		kind = api.KindInvalid
	}
	return api.Errorf(kind, "cannot %s %s in the guest: %w", c.verb, c.path, err)
}

func (copying) signal(int)            {}
func (copying) resize(uint16, uint16) {}
