package oci

import (
	"archive/tar"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"banger/api"
)

// maxFiles bounds the files in an archive of an image: some for each layer, for some
// images.
const maxFiles = 100_000

// firstName matches the first file name in an image's archive, as most programs write
// it: blobs/…, ID.json, ID/layer.tar, and so on.
var firstName = regexp.MustCompile(`^(blobs(/.*)?|oci-layout|index\.json|manifest\.json|repositories|(sha256:)?[0-9a-f]{64}(\.json|\.tar|\.tar\.gz|/.*)?)$`)

// BeginsImage reports whether the first file of an image's archive may have that name.
func BeginsImage(name string) bool {
	return firstName.MatchString(path.Clean(strings.TrimPrefix(name, "./")))
}

// OpenTar lists the files of an uncompressed tar archive, for reading them in place. It
// reads only headers. An archive that is cut off before a document of an image is
// returned as far as it was read.
func OpenTar(r io.ReadSeeker, at io.ReaderAt) (fs.FS, error) {
	t := tarFS{at: at, files: map[string]span{}, links: map[string]string{}, twice: map[string]bool{}}
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return &t, nil
		}
		if err != nil {
			if t.marked {
				return nil, api.Errorf(api.KindInvalid, "the archive is damaged or cut off: %w", err)
			}
			return &t, nil
		}
		if err := t.add(h, r); err != nil {
			return nil, err
		}
	}
}

// tarFS is the files of a tar archive. It has no directories.
type tarFS struct {
	at     io.ReaderAt
	files  map[string]span
	links  map[string]string // old versions of docker save link identical layers
	twice  map[string]bool
	marked bool // it contains one of Documents
	more   bool // it has more than maxFiles; the others are unknown
}

type span struct{ offset, size int64 }

func (t *tarFS) add(h *tar.Header, r io.Seeker) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	if name == "." || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if slices.Contains(Documents(), name) {
		t.marked = true
	} else if len(t.files)+len(t.links) >= maxFiles {
		t.more = true
		return nil
	}
	_, isFile := t.files[name]
	_, isLink := t.links[name]
	if isFile || isLink {
		t.twice[name] = true
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
func (t *tarFS) Open(name string) (fs.File, error) {
	const hops = 4
	for range hops {
		if t.twice[name] {
			return nil, api.Errorf(api.KindInvalid, "the archive contains %.100q twice", name)
		}
		target, ok := t.links[name]
		if !ok {
			break
		}
		name = target
	}
	s, ok := t.files[name]
	switch {
	case ok:
		return tarFile{io.NewSectionReader(t.at, s.offset, s.size), path.Base(name)}, nil
	case t.more && t.marked && !slices.Contains(Documents(), name) && name != dirVersion:
		return nil, api.Errorf(api.KindInvalid, "the archive contains more than %d files", maxFiles)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// tarFile is one file with its metadata.
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
