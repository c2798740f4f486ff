package rootfs

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
	"banger/internal/host/fsx"
	"banger/internal/image/oci"
	"banger/internal/image/tarball"
)

// tree is where the entries of archives go. Names of entries, and targets of hard links,
// are clean, relative, and returned by resolveParent: none of their ancestors is a
// symbolic link. An entry replaces what is in its way, except for a directory in the way
// of a directory.
type tree interface {
	// resolveParent resolves the symbolic links in the directory of an entry, below the
	// root.
	resolveParent(name string) (string, error)
	dir(h *tar.Header) error
	file(h *tar.Header, content io.Reader) error
	symlink(h *tar.Header) error
	link(h *tar.Header) error
	// node makes a fifo or device; it returns false if it left it out.
	node(h *tar.Header, mode uint32, dev uint64) (bool, error)
	// remove removes name and everything below it, and empty everything below it. What
	// kept contains stays, with its parent directories. It is not an error if the name
	// does not exist.
	remove(name string, kept func(name string) bool) error
	empty(name string, kept func(name string) bool) error
}

// unpacker unpacks archives into a tree, one over the other.
type unpacker struct {
	tree   tree
	limits tarball.Limits
	s      *Summary
	layer  *layer // what this layer has created; nil if the archive is not a layer
	first  int    // entries before this archive
	at     string // the current entry
	ended  bool   // the archive's end was read
}

// archive unpacks a tar archive, compressed or not. in counts the bytes read of it. It
// returns the digest of the archive before compression.
func (u *unpacker) archive(in *tarball.Counter) (string, error) {
	u.first, u.at, u.ended = u.s.Entries, "", false
	r, err := tarball.Decompress(in)
	if err != nil {
		return "", u.archiveError(err)
	}
	a := tarball.NewReadAhead(r, func(out int64) error { return u.limits.Check(in.Bytes(), out) })
	defer a.Close()
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
	// The digest includes what follows the end of the archive, and reading it shows
	// whether the compression ended well.
	u.ended = true
	if _, err := io.Copy(io.Discard, a); err != nil {
		return "", u.archiveError(err)
	}
	digest, n := a.Digest()
	u.s.Layers = append(u.s.Layers, n)
	return digest, nil
}

// archiveError says what is wrong with an archive, and where.
func (u *unpacker) archiveError(err error) error {
	return tarball.Position{Files: u.s.Entries - u.first, At: u.at, Ended: u.ended}.Explain(err)
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
		return api.Errorf(api.KindInvalid, "cannot unpack %.200q: the archive contains more than %d files", name, u.limits.Entries)
	}
	if h.Size > u.limits.Bytes-u.s.Bytes { // the sum may overflow 64 bits
		return api.Errorf(api.KindInvalid, "cannot unpack %.200q, of %d MiB: %w", name, h.Size>>20, u.limits.TooLarge())
	}
	u.s.Bytes += max(h.Size, 0)
	if name, err = u.tree.resolveParent(name); err != nil {
		return u.wrap(h.Name, err)
	}
	if strings.Count(name, "/") > u.limits.Depth || len(name) > u.limits.Path {
		return badName(h.Name, "is too deep after its links are followed")
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

// document looks for the files that identify an image, at any place in the archive.
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

// make creates the file of an entry.
func (u *unpacker) make(h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir, gnuDumpDir:
		return u.tree.dir(h)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		source := &tarball.Source{R: content}
		err := u.tree.file(h, source)
		if source.Err != nil {
			return u.archiveError(source.Err)
		}
		return err
	case tar.TypeSymlink:
		if why := badTarget(h.Linkname, u.limits.Path); why != "" {
			return fmt.Errorf("a symbolic link whose target %.200q %s", h.Linkname, why)
		}
		return u.tree.symlink(h)
	case tar.TypeLink:
		// Kaniko's layers have targets that start with a slash. This does not lead
		// outside: the target is looked up below the root.
		target, why := clean(strings.TrimLeft(h.Linkname, "/"), u.limits)
		if why != "" {
			return fmt.Errorf("a hard link whose target %.200q %s", h.Linkname, why)
		}
		target, err := u.tree.resolveParent(target)
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

// Types of entries that only GNU tar has, and archive/tar does not define (GNU tar's
// manual, "Extensions").
const (
	gnuDumpDir     = 'D' // a directory, with a list of what was in it: tar --listed-incremental
	gnuMultiVolume = 'M' // the rest of a file that began in another archive
	gnuVolumeLabel = 'V' // a name for the archive: tar --label
)

func unsupported(kind byte) string {
	if kind == gnuMultiVolume {
		return "it is the rest of a file that starts in another volume of the archive"
	}
	return fmt.Sprintf("entries of type %q are not supported", kind)
}

// cleanName cleans an entry's name, or refuses it: it has to be relative to the root.
// The root itself may also be called "/", as Kaniko does.
func cleanName(name string, l tarball.Limits) (string, error) {
	if strings.HasPrefix(name, "/") && strings.Trim(name, "/") != "" {
		return "", badName(name, "is absolute").
			WithHint("make the archive again without the leading /: tar does so unless --absolute-names (-P) is set")
	}
	cleaned, why := clean(name, l)
	if why != "" {
		return "", badName(name, why)
	}
	return cleaned, nil
}

// clean cleans a relative name; why says what is wrong with it.
func clean(name string, l tarball.Limits) (cleaned, why string) {
	if why := badTarget(name, l.Path); why != "" {
		return "", why
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", "escapes the archive"
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

// badTarget says why a name is not valid for a file, or as the target of a symbolic
// link. Control characters are valid: files have them (Icon\r of macOS), and output
// quotes names.
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
