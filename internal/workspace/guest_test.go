package workspace_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"banger/api"
	"banger/client"
	"banger/internal/workspace/treesync"
	"banger/internal/workspace/worktest"
)

// dirGuest is a guest whose root is a directory of this host.
type dirGuest struct {
	root string
	// onFile, unless nil, is called before each file that Put creates, and ends Put if it
	// returns an error.
	onFile func(n int) error
	placer worktest.Placer
	// fetched are the names that were asked for, and unread is a directory that cannot be read.
	fetched []string
	unread  string
	// lies are listed without being there.
	lies []string
}

func (g *dirGuest) Place(ctx context.Context, dir string, changes iter.Seq[treesync.Change], each func(treesync.Placed) error) error {
	return g.placer.Place(ctx, filepath.Join(g.root, dir), changes, each)
}

func (g *dirGuest) Put(_ context.Context, path string, stream io.Reader, _ io.Writer) error {
	r := tar.NewReader(stream)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, stream)
			return err
		}
		if err == nil && g.onFile != nil {
			err = g.onFile(n)
		}
		if err == nil {
			err = create(filepath.Join(g.root, path, h.Name), h, r)
		}
		if err != nil {
			return err
		}
	}
}

func create(full string, h *tar.Header, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(full, 0o755)
	case tar.TypeSymlink:
		return errors.Join(os.RemoveAll(full), os.Symlink(h.Linkname, full))
	}
	data, err := io.ReadAll(content)
	if err == nil {
		_ = os.Remove(full) // an earlier one may be read-only, as git's packs are
		err = os.WriteFile(full, data, fs.FileMode(h.Mode))
	}
	if err == nil {
		err = os.Chmod(full, fs.FileMode(h.Mode))
	}
	return err
}

func (g *dirGuest) Tree(_ context.Context, path string, o client.TreeOptions, each func(client.TreeEntry) error) error {
	top := filepath.Join(g.root, path)
	for _, name := range g.lies {
		if err := each(client.TreeEntry{Path: name, Type: client.TreeFile}); err != nil {
			return err
		}
	}
	return filepath.WalkDir(top, func(full string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && full == top:
			return api.Errorf(api.KindNotFound, "no such directory")
		case err != nil || full == top:
			return err
		}
		name, _ := filepath.Rel(top, full)
		if worktest.IsTemporary(name) {
			return nil
		}
		at, err := worktest.EntryOf(top, name)
		e := client.TreeEntry(at)
		if err != nil {
			return err
		}
		if name == g.unread {
			if err := each(client.TreeEntry{Path: name, Type: client.TreeDir, Unread: "permission denied"}); err != nil {
				return err
			}
			return filepath.SkipDir
		}
		if err := each(e); err != nil {
			return err
		}
		if d.IsDir() && len(o.Skip) > 0 && d.Name() == o.Skip[0] {
			return filepath.SkipDir
		}
		return nil
	})
}

func (g *dirGuest) Fetch(_ context.Context, dir string, names []string, each func(client.FetchedFile) error) error {
	g.fetched = append(g.fetched, names...)
	for _, name := range names {
		f := client.FetchedFile{TreeEntry: client.TreeEntry{Path: name}}
		in, err := os.Open(filepath.Join(g.root, dir, name))
		if err != nil {
			f.Err = api.Errorf(api.KindNotFound, "no such file")
		} else {
			f.Content = in
		}
		if err := each(f); err != nil {
			return err
		}
		in.Close()
	}
	return nil
}

// write writes a file of the guest's.
func (g *dirGuest) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.root, directory, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
