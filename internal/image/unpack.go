package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"syscall"
	"unicode"

	"banger/api"
	"banger/internal/fsx"
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
}

// tree is where archives are unpacked. Names in headers, and targets of hard
// links, are clean and relative. What is in the way of an entry goes, but for a
// directory in the way of a directory. No ancestor of a name is ever followed
// where it is a symbolic link.
type tree interface {
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
}

// archive unpacks a tar archive, compressed or not. in counts what was read of
// it. It returns the digest of the archive before compression.
func (u *unpacker) archive(in *counter) (string, error) {
	u.first = u.s.Entries
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
		if err := u.entry(h, archive); err != nil {
			return "", err
		}
	}
	// What follows the end of the archive belongs to its digest, and tells whether
	// compression ended well.
	if _, err := io.Copy(io.Discard, a); err != nil {
		return "", u.archiveError(err)
	}
	digest, n := a.digest()
	u.s.Layers = append(u.s.Layers, n)
	return digest, nil
}

func (u *unpacker) archiveError(err error) error {
	var sys syscall.Errno
	var known *api.Error
	n := u.s.Entries - u.first
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &sys):
		return fsx.DiskError("read the archive", err)
	case errors.Is(err, io.ErrUnexpectedEOF) && n == 0:
		return api.Errorf(api.KindInvalid, "this is no tar archive, or it is cut off in its first file")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return api.Errorf(api.KindInvalid, "the archive is cut off after %d files", n)
	case n == 0:
		return api.Errorf(api.KindInvalid, "this is no tar archive: %w", err)
	}
	return api.Errorf(api.KindInvalid, "the archive is damaged after %d files: %w", n, err)
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name, u.limits)
	if err != nil {
		return err
	}
	u.s.Entries++
	if u.s.Entries > u.limits.Entries {
		return api.Errorf(api.KindInvalid, "the archive holds more than %d files", u.limits.Entries)
	}
	if h.Size > u.limits.Bytes-u.s.Bytes { // the sum may not have room in 64 bits
		return u.limits.tooLarge()
	}
	u.s.Bytes += max(h.Size, 0)
	h.Name = name
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
	case tar.TypeDir:
		return u.tree.dir(h)
	case tar.TypeReg, tar.TypeGNUSparse:
		source := &archiveReader{r: content}
		err := u.tree.file(h, source)
		if source.err != nil {
			return u.archiveError(source.err)
		}
		return err
	case tar.TypeSymlink:
		if err := checkTarget(h.Linkname, u.limits.Path); err != nil {
			return err
		}
		return u.tree.symlink(h)
	case tar.TypeLink:
		// Kaniko's layers have targets that begin with a slash. That is no way out:
		// what is to be linked is looked up below the root.
		target, err := cleanName(strings.TrimLeft(h.Linkname, "/"), u.limits)
		if err != nil {
			return err
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
	return api.Errorf(api.KindInvalid, "cannot unpack %.200q: entries of type %q are not supported", h.Name, h.Typeflag)
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
	if err := checkTarget(name, l.Path); err != nil {
		return "", err
	}
	if strings.HasPrefix(name, "/") && strings.Trim(name, "/") != "" {
		return "", badName(name, "is absolute").
			WithHint("make the archive anew, without the first /: tar does it so, but for --absolute-names (-P)")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", badName(name, "leads out of the archive")
		}
		if len(part) > 255 { // NAME_MAX
			return "", badName(name, "is too long")
		}
	}
	clean := path.Clean("./" + strings.TrimLeft(name, "/"))
	if strings.Count(clean, "/") > l.Depth {
		return "", badName(name, "is too deep")
	}
	return clean, nil
}

func checkTarget(name string, longest int) error {
	switch {
	case name == "":
		return badName(name, "is empty")
	case len(name) > longest:
		return badName(name, "is too long")
	case strings.ContainsFunc(name, unicode.IsControl):
		return badName(name, "has control characters")
	}
	return nil
}

func badName(name, why string) *api.Error {
	return api.Errorf(api.KindInvalid, "cannot unpack the archive: the name %s %s", fmt.Sprintf("%.200q", name), why)
}
