package filecopy

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

// UnpackTar unpacks a tar stream below the existing directory dir. An existing file is
// replaced when the new one is complete; a directory is merged with an existing one.
// Names and links cannot lead outside dir.
func UnpackTar(ctx context.Context, r io.Reader, dir string, o Options) error {
	t, err := openTarget(dir, o)
	if err != nil {
		return err
	}
	defer t.close()
	stream := tar.NewReader(r)
	for ctx.Err() == nil {
		h, err := stream.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("bad tar stream: %w", err)
		}
		if err := t.tarEntry(ctx, h, stream); err != nil {
			return err
		}
	}
	if err := t.finish(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // padding after the end
	return errors.Join(err, context.Cause(ctx))
}

func (t *target) tarEntry(ctx context.Context, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	e, err := fromTar(h)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return t.dir(e)
	case tar.TypeReg, tar.TypeGNUSparse:
		return t.tarFile(ctx, e, h, content)
	case tar.TypeSymlink:
		return t.symlink(e)
	case tar.TypeLink:
		if e.Target, err = localName(h.Linkname); err != nil || e.Target == e.Name {
			return err
		}
		return t.hardLink(e)
	}
	t.warn(h.Name, fmt.Sprintf("is a tar entry of type %q: skipped", h.Typeflag))
	return nil
}

func fromTar(h *tar.Header) (Entry, error) {
	name, err := localName(h.Name)
	e := Entry{
		Name: name, Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid, MTime: h.ModTime, Size: h.Size,
		Target: h.Linkname, Xattrs: map[string]string{},
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			e.Xattrs[name] = value
		}
	}
	return e, err
}

func (t *target) tarFile(ctx context.Context, e Entry, h *tar.Header, content io.Reader) error {
	f, err := t.create(e, false)
	if err != nil {
		return err
	}
	if sparse(h) {
		err = writeSparse(ctx, f, content, h.Size)
	} else {
		_, err = io.Copy(f.File, content)
	}
	if err != nil {
		return errors.Join(err, f.discard())
	}
	return f.commit()
}

// writeSparse leaves out zeros: a reader of tar streams does not get the holes.
func writeSparse(ctx context.Context, f *incoming, content io.Reader, size int64) error {
	buf := make([]byte, sumBlock)
	for at := int64(0); ctx.Err() == nil; {
		n, err := io.ReadFull(content, buf)
		if n > 0 && !allZero(buf[:n]) {
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && at == size:
			return named(f.entry.Name, unix.Ftruncate(int(f.Fd()), size))
		case err != nil:
			return err
		}
	}
	return context.Cause(ctx)
}

func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// localName makes a name of the stream relative; it refuses a name with "..".
func localName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if !filepath.IsLocal(clean) || strings.ContainsRune(clean, 0) {
		return "", api.Errorf(api.KindInvalid, "the tar stream has a name that leads outside the directory: %s", Quote(name))
	}
	return clean, nil
}
