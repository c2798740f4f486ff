package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"syscall"

	"banger/api"
	"banger/internal/fsx"
	"banger/internal/oci"
)

// summary is what came of unpacking.
type summary struct {
	Entries int     `json:"entries"`
	Bytes   int64   `json:"bytes"`
	Devices int     `json:"devices"`  // left out: impossible, or too many to be made without root
	Owners  int     `json:"owners"`   // given to root, for the same reasons
	Attrs   int     `json:"attrs"`    // extended attributes left out
	NoShell bool    `json:"no_shell"` // there is no /bin/sh
	Layers  []int64 `json:"layers"`   // bytes of each archive before compression
	IsImage bool    `json:"is_image"` // it is an image's: nothing was unpacked
}

// tree is where archives are unpacked. Names in headers, and targets of hard
// links, are clean, relative, and what real has returned: no ancestor of one is a
// symbolic link. What is in the way of an entry goes, but for a directory in the way
// of a directory.
type tree interface {
	// real resolves the symbolic links on the way to an entry, below the root.
	real(name string) (string, error)
	// ensure makes a directory where there is nothing.
	ensure(name string) error
	dir(h *tar.Header) error
	file(h *tar.Header, content io.Reader) error
	symlink(h *tar.Header) error
	link(h *tar.Header) error
	// node makes a fifo or device; false means that it was left out.
	node(h *tar.Header, mode uint32, dev uint64) (bool, error)
	// remove removes name and what is below it, and empty what is below it; what
	// kept knows stays, with the directories on the way to it. Absent is success.
	remove(name string, kept func(name string) bool) error
	empty(name string, kept func(name string) bool) error
	exists(name string) bool
	// close finishes what was put off.
	close() error
}

// unpacker unpacks archives into a tree, one over the other.
type unpacker struct {
	tree   tree
	limits limits
	s      *summary
	layer  *layer // what this one has made; nil where the archive is no layer
	first  int    // entries before this archive
	at     string // the entry that it is at
	ended  bool   // the archive's end was read
}

// archive unpacks a tar archive, compressed or not. in counts what was read of
// it. It returns the digest of the archive before compression.
func (u *unpacker) archive(in *counter) (string, error) {
	u.first, u.at, u.ended = u.s.Entries, "", false
	r, err := decompress(in)
	if err != nil {
		return "", u.archiveError(err)
	}
	a := newAhead(r, func(out int64) error { return u.limits.check(in.n.Load(), out) })
	defer a.close()
	archive := tar.NewReader(a)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", u.archiveError(err)
		}
		u.at = h.Name
		if err := u.entry(h, archive); err != nil {
			return "", err
		}
	}
	// What follows the end of the archive belongs to its digest, and tells whether
	// compression ended well.
	u.ended = true
	if _, err := io.Copy(io.Discard, a); err != nil {
		return "", u.archiveError(err)
	}
	digest, n := a.digest()
	u.s.Layers = append(u.s.Layers, n)
	return digest, nil
}

// archiveError says what is wrong with an archive, and where.
func (u *unpacker) archiveError(err error) error {
	var sys syscall.Errno
	var known *api.Error
	n := u.s.Entries - u.first
	where := "at its beginning"
	if n > 0 {
		where = fmt.Sprintf("after %d files, the last of them %.200q", n, u.at)
	}
	switch {
	case errors.As(err, &known) && n > 0:
		return api.Errorf(known.Kind, "%w (%s)", err, where)
	case errors.As(err, &known):
		return err
	case errors.As(err, &sys):
		return fsx.DiskError("read the archive", err)
	case u.ended && !errors.Is(err, io.ErrUnexpectedEOF):
		return api.Errorf(api.KindInvalid, "the archive is whole, but what follows it in the file does not belong there: %w", err)
	case u.ended:
		return api.Errorf(api.KindInvalid, "the archive is cut off behind its last file: the end of its compression is missing")
	case errors.Is(err, io.ErrUnexpectedEOF) && n == 0:
		return api.Errorf(api.KindInvalid, "this is not a tar archive, or it is cut off in its first file")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return api.Errorf(api.KindInvalid, "the archive is cut off %s", where)
	case errors.As(err, new(badCompression)):
		return api.Errorf(api.KindInvalid, "the archive's compression is damaged %s: %w", where, err)
	case n == 0 && errors.Is(err, tar.ErrHeader):
		return api.Errorf(api.KindInvalid, "this is not a tar archive: it begins with no header of one")
	}
	return api.Errorf(api.KindInvalid, "the archive is damaged %s: %w", where, err)
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == gnuVolumeLabel {
		return nil
	}
	name, err := cleanName(h.Name, u.limits)
	if err != nil {
		return err
	}
	u.s.Entries++
	if u.s.Entries > u.limits.Entries {
		return api.Errorf(api.KindInvalid, "cannot unpack %.200q: the archive holds more than %d files", name, u.limits.Entries)
	}
	if h.Size > u.limits.Bytes-u.s.Bytes { // the sum may not have room in 64 bits
		return api.Errorf(api.KindInvalid, "cannot unpack %.200q, of %d MiB: %w", name, h.Size>>20, u.limits.tooLarge())
	}
	u.s.Bytes += max(h.Size, 0)
	if name, err = u.tree.real(name); err != nil {
		return u.wrap(h.Name, err)
	}
	if strings.Count(name, "/") > u.limits.Depth || len(name) > u.limits.Path {
		return badName(h.Name, "is too deep, with what it leads through")
	}
	h.Name = name
	if u.layer == nil && h.Typeflag == tar.TypeReg && slices.Contains(oci.Documents(), name) {
		if content, err = u.document(name, h.Size, content); err != nil {
			return err
		}
	}
	if u.layer != nil {
		if done, err := u.whiteout(name); done || err != nil {
			return u.wrap(name, err)
		}
		if err := u.layer.add(name, h.Typeflag == tar.TypeDir); err != nil {
			return err
		}
	}
	return u.wrap(name, u.make(h, content))
}

// document looks at a file that an image's archive may have, wherever it stands in it.
func (u *unpacker) document(name string, size int64, content io.Reader) (io.Reader, error) {
	if size > oci.MaxDocument {
		return content, nil
	}
	data, err := io.ReadAll(content)
	if err != nil {
		return nil, u.archiveError(err)
	}
	if oci.Marks(name, data) {
		return nil, errIsImage
	}
	return bytes.NewReader(data), nil
}

func (u *unpacker) wrap(name string, err error) error {
	var e *api.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	var sys syscall.Errno
	if errors.As(err, &sys) && (sys == syscall.ENOSPC || sys == syscall.EDQUOT || sys == syscall.EIO) {
		return fsx.DiskError("unpack", err)
	}
	return api.Errorf(api.KindInvalid, "cannot unpack %.200q: %w", name, err)
}

// make makes what an entry names.
func (u *unpacker) make(h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir, gnuDumpDir:
		return u.tree.dir(h)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		source := &archiveReader{r: content}
		err := u.tree.file(h, source)
		if source.err != nil {
			return u.archiveError(source.err)
		}
		return err
	case tar.TypeSymlink:
		if why := badTarget(h.Linkname, u.limits.Path); why != "" {
			return fmt.Errorf("a symbolic link whose target %.200q %s", h.Linkname, why)
		}
		return u.tree.symlink(h)
	case tar.TypeLink:
		// Kaniko's layers have targets that begin with a slash. That is no way out:
		// what is to be linked is looked up below the root.
		target, why := clean(strings.TrimLeft(h.Linkname, "/"), u.limits)
		if why != "" {
			return fmt.Errorf("a hard link whose target %.200q %s", h.Linkname, why)
		}
		target, err := u.tree.real(target)
		if err != nil {
			return fmt.Errorf("a hard link to %.200q: %w", h.Linkname, err)
		}
		if target == h.Name {
			return errors.New("a hard link to itself")
		}
		h.Linkname = target
		return u.tree.link(h)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		kind := map[byte]uint32{tar.TypeFifo: syscall.S_IFIFO, tar.TypeChar: syscall.S_IFCHR, tar.TypeBlock: syscall.S_IFBLK}[h.Typeflag]
		made, err := u.tree.node(h, kind, device(h.Devmajor, h.Devminor))
		if err == nil && !made {
			u.s.Devices++
		}
		return err
	}
	return api.Errorf(api.KindInvalid, "cannot unpack %.200q: %s", h.Name, unsupported(h.Typeflag))
}

// The types of entries that only GNU tar has, and archive/tar does not name
// (GNU tar's manual, "Extensions").
const (
	gnuDumpDir     = 'D' // a directory, with a list of what was in it: tar --listed-incremental
	gnuMultiVolume = 'M' // the rest of a file that began in another archive
	gnuVolumeLabel = 'V' // a name for the archive: tar --label
)

func unsupported(kind byte) string {
	if kind == gnuMultiVolume {
		return "it is the rest of a file that begins in another volume of the archive"
	}
	return fmt.Sprintf("entries of type %q are not supported", kind)
}

// archiveReader remembers errors of the archive, to tell them from the disk's.
type archiveReader struct {
	r   io.Reader
	err error
}

func (a *archiveReader) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if err != nil && err != io.EOF {
		a.err = err
	}
	return n, err
}

// cleanName makes an entry's name clean, or refuses it: it is to be relative to
// the root. The root itself may be called "/" as well, as Kaniko does.
func cleanName(name string, l limits) (string, error) {
	if strings.HasPrefix(name, "/") && strings.Trim(name, "/") != "" {
		return "", badName(name, "is absolute").
			WithHint("make the archive again, without the first /: tar does it so, but for --absolute-names (-P)")
	}
	cleaned, why := clean(name, l)
	if why != "" {
		return "", badName(name, why)
	}
	return cleaned, nil
}

// clean makes a relative name clean; why says what is wrong with it.
func clean(name string, l limits) (cleaned, why string) {
	if why := badTarget(name, l.Path); why != "" {
		return "", why
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", "leads out of the archive"
		}
		if len(part) > 255 { // NAME_MAX
			return "", "is too long"
		}
	}
	cleaned = path.Clean("./" + strings.TrimLeft(name, "/"))
	if strings.Count(cleaned, "/") > l.Depth {
		return "", "is too deep"
	}
	return cleaned, ""
}

// badTarget says what keeps a name from being that of a file, or where a symbolic link
// leads. Control characters do not: files have them (Icon\r of macOS), and what shows
// names quotes them.
func badTarget(name string, longest int) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > longest:
		return "is too long"
	case strings.Contains(name, "\x00"):
		return "has a NUL byte"
	}
	return ""
}

func badName(name, why string) *api.Error {
	return api.Errorf(api.KindInvalid, "cannot unpack the archive: the name %s %s", fmt.Sprintf("%.200q", name), why)
}
