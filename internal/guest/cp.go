package guest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/tarcopy"
)

// Where a copy goes follows `docker cp`: into the target where that is a directory,
// keeping the source's name; else the target is the copy's new name, and its parent
// has to exist. A source of which only the contents are wanted ends in "/.".

// CopyIn copies a file or directory of this host into the guest.
func (c *Client) CopyIn(ctx context.Context, from, to string, warnings io.Writer) error {
	info, err := os.Stat(from)
	if err != nil {
		return api.Errorf(api.KindNotFound, "cannot copy %s: %w", from, err)
	}
	dir, name, err := target(to, sourceName(from), info.IsDir(), func(p string) (bool, error) {
		st, err := c.Stat(ctx, p)
		return st.IsDir, err
	}, path.Split)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := tarcopy.Pack(w, from, name, warner(warnings))
		w.CloseWithError(err)
		packed <- err
	}()
	err = c.Put(ctx, dir, r, warnings)
	r.Close()
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		return api.Errorf(api.KindInvalid, "cannot read %s: %w", from, packErr)
	}
	return err
}

// CopyOut copies a file or directory of the guest to this host.
func (c *Client) CopyOut(ctx context.Context, from, to string, warnings io.Writer) error {
	st, err := c.Stat(ctx, from)
	if err != nil {
		return err
	}
	name := st.Name
	if contentsOnly(from) {
		name = "."
	}
	dir, name, err := target(to, name, st.IsDir, func(p string) (bool, error) {
		info, err := os.Stat(p)
		return err == nil && info.IsDir(), err
	}, filepath.Split)
	if err != nil {
		return err
	}
	stream, err := c.Get(ctx, from, warnings)
	if err != nil {
		return err
	}
	defer stream.Close()
	r, w := io.Pipe()
	renamed := make(chan error, 1)
	go func() {
		err := rename(w, stream, name)
		w.CloseWithError(err)
		renamed <- err
	}()
	err = tarcopy.Unpack(r, dir, warner(warnings))
	r.Close()
	stream.Close()
	if renameErr := <-renamed; renameErr != nil && !errors.Is(renameErr, io.ErrClosedPipe) {
		err = renameErr
	}
	if err != nil {
		return api.Errorf(api.AsError(err).Kind, "cannot copy %s to %s: %w", from, to, err)
	}
	return nil
}

func contentsOnly(p string) bool { return p == "." || strings.HasSuffix(p, "/.") }

func sourceName(from string) string {
	if contentsOnly(from) {
		return "."
	}
	if abs, err := filepath.Abs(from); err == nil {
		from = abs
	}
	if name := filepath.Base(from); name != "/" {
		return name
	}
	return "."
}

// target decides the directory to unpack in and the name of the copy there.
func target(to, source string, isDir bool, look func(string) (bool, error), split func(string) (string, string)) (dir, name string, err error) {
	toDir, err := look(to)
	switch {
	case err == nil && toDir:
		return to, source, nil
	case err == nil && isDir:
		return "", "", api.Errorf(api.KindInvalid, "cannot copy a directory onto %s, which is a file", to)
	case err != nil && !isMissing(err):
		return "", "", err
	case err != nil && strings.HasSuffix(to, "/") && !isDir:
		return "", "", api.Errorf(api.KindNotFound, "cannot copy to %s: no such directory", to)
	}
	dir, name = split(strings.TrimRight(to, "/"))
	if dir == "" {
		dir = "."
	}
	if toDir, err = look(dir); err != nil || !toDir {
		return "", "", api.Errorf(api.KindNotFound, "cannot copy to %s: %s is no directory", to, dir)
	}
	return dir, name, nil
}

// rename copies a tar stream and replaces the first element of every name.
func rename(w io.Writer, r io.Reader, name string) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		h.Name = renamed(h.Name, name)
		if h.Typeflag == tar.TypeLink {
			h.Linkname = renamed(h.Linkname, name)
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

func renamed(old, name string) string {
	_, rest, _ := strings.Cut(old, "/")
	return path.Join(name, rest)
}

func warner(to io.Writer) func(path, what string) {
	if to == nil {
		to = io.Discard
	}
	return func(path, what string) { fmt.Fprintf(to, "banger: %s is %s: skipped\n", path, what) }
}
