package oci

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"banger/api"
)

// maxFiles is how many files an archive of an image may have: some for each
// layer, for some images.
const maxFiles = 100_000

// ErrRootfs says that a tar archive is no image's.
var ErrRootfs = errors.New("the archive holds no image")

// firstName is what the first file of an image's archive is called, by
// whichever program it was written: blobs/…, ID.json, ID/layer.tar, and so on.
var firstName = regexp.MustCompile(`^(blobs(/.*)?|oci-layout|index\.json|manifest\.json|repositories|(sha256:)?[0-9a-f]{64}(\.json|\.tar|\.tar\.gz|/.*)?)$`)

// BeginsImage says whether the first file of an image's archive may have that
// name.
func BeginsImage(name string) bool {
	return firstName.MatchString(path.Clean(strings.TrimPrefix(name, "./")))
}

// OpenTar finds the files of an uncompressed tar archive, to read them where
// they are. It fails with ErrRootfs as soon as they are clearly no image's, so
// that a large root file system is not read for that.
func OpenTar(r io.ReadSeeker, at io.ReaderAt) (fs.FS, error) {
	t := tarFS{at: at, files: map[string]span{}, links: map[string]string{}}
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if len(t.files)+len(t.links) == 0 {
				return nil, ErrRootfs
			}
			return nil, api.Errorf(api.KindInvalid, "the archive is damaged or cut off: %w", err)
		}
		if err := t.add(h, r); err != nil {
			return nil, err
		}
	}
	_, layout := t.files[layoutIndex]
	_, saved := t.files[savedManifest]
	if !layout && !saved {
		return nil, ErrRootfs
	}
	return t, nil
}

// tarFS is the files of a tar archive. It has no directories.
type tarFS struct {
	at    io.ReaderAt
	files map[string]span
	links map[string]string // old versions of docker save link layers that are the same
}

type span struct{ offset, size int64 }

func (t tarFS) add(h *tar.Header, r io.Seeker) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	if name == "." || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if len(t.files)+len(t.links) == 0 && !BeginsImage(name) {
		return ErrRootfs
	}
	if len(t.files)+len(t.links) >= maxFiles {
		return api.Errorf(api.KindInvalid, "the archive holds more than %d files", maxFiles)
	}
	_, isFile := t.files[name]
	_, isLink := t.links[name]
	if isFile || isLink {
		return api.Errorf(api.KindInvalid, "the archive has %.100q twice", name)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		offset, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return api.Errorf(api.KindInternal, "cannot read the archive: %w", err)
		}
		t.files[name] = span{offset, h.Size}
	case tar.TypeSymlink:
		t.links[name] = path.Join(path.Dir(name), h.Linkname)
	case tar.TypeLink:
		t.links[name] = path.Clean(h.Linkname)
	}
	return nil
}

// Open implements fs.FS.
func (t tarFS) Open(name string) (fs.File, error) {
	const hops = 4
	for range hops {
		target, ok := t.links[name]
		if !ok {
			break
		}
		name = target
	}
	s, ok := t.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return tarFile{io.NewSectionReader(t.at, s.offset, s.size), path.Base(name)}, nil
}

// tarFile is one file, and what is known of it.
type tarFile struct {
	*io.SectionReader
	name string
}

func (f tarFile) Close() error               { return nil }
func (f tarFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f tarFile) Name() string               { return f.name }
func (f tarFile) Mode() fs.FileMode          { return 0o444 }
func (f tarFile) ModTime() time.Time         { return time.Time{} }
func (f tarFile) IsDir() bool                { return false }
func (f tarFile) Sys() any                   { return nil }
