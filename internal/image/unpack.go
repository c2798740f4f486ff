package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"banger/api"
	"banger/internal/fsx"
)

// limits bound what an archive may hold.
type limits struct {
	entries int
	bytes   int64
	path    int // PATH_MAX of limits.h
}

var defaultLimits = limits{entries: 4 << 20, bytes: 64 << 30, path: 4095}

// summary is what came of unpacking.
type summary struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	Devices int   `json:"devices"`  // left out: only root may make device nodes
	Owners  int   `json:"owners"`   // given to root: their owners are beyond the ids that may be used
	Attrs   int   `json:"attrs"`    // extended attributes left out
	NoShell bool  `json:"no_shell"` // there is no /bin/sh
}

// tree is where an archive is unpacked. Names are clean and relative.
type tree interface {
	mkdir(name string) error
	file(name string, content io.Reader) error
	symlink(target, name string) error
	link(target, name string) error
	// node makes a fifo or device; false means that it was left out.
	node(name string, mode uint32, dev uint64) (bool, error)
	// attributes sets owner, mode, extended attributes and times, in this order.
	attributes(name string, h *tar.Header, s *summary) error
	exists(name string) bool
}

// runUnpack unpacks standard input into the directory args[0]; args[1] is the
// size of the input.
func runUnpack(_ context.Context, args []string, emit func(any)) error {
	if err := enterTree(args[0]); err != nil {
		return err
	}
	total, _ := strconv.ParseInt(args[1], 10, 64)
	in := &counter{r: os.Stdin, report: func(done int64) {
		emit(event{Progress: &api.Progress{Step: "image", Message: "unpacking", Done: done, Total: total, Unit: "bytes"}})
	}}
	s, err := unpack(in, hostTree{}, defaultLimits)
	if err != nil {
		return err
	}
	emit(event{Summary: &s})
	return nil
}

// counter reports how much was read, at most ten times a second.
type counter struct {
	r      io.Reader
	report func(int64)
	n      int64
	last   time.Time
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if now := time.Now(); now.Sub(c.last) > 100*time.Millisecond {
		c.last = now
		c.report(c.n)
	}
	return n, err
}

// unpack reads a tar archive, compressed or not, into t.
func unpack(in io.Reader, t tree, l limits) (summary, error) {
	var s summary
	r, err := decompress(in)
	if err != nil {
		return s, archiveError(s, err)
	}
	archive := tar.NewReader(r)
	u := unpacker{tree: t, limits: l, s: &s}
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s, archiveError(s, err)
		}
		if err := u.entry(h, archive); err != nil {
			return s, err
		}
	}
	if s.Entries == 0 {
		return s, api.Errorf(api.KindInvalid, "the archive is empty, or no tar archive")
	}
	// What follows the end of the archive tells whether compression ended well.
	if _, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); err != nil {
		return s, archiveError(s, err)
	}
	for i := len(u.dirs) - 1; i >= 0; i-- { // times last: what is made in a directory changes them
		if err := t.attributes(u.dirs[i].Name, u.dirs[i], &summary{}); err != nil {
			return s, fsx.DiskError("unpack", err)
		}
	}
	s.NoShell = !t.exists("bin/sh")
	return s, nil
}

func archiveError(s summary, err error) error {
	var sys syscall.Errno
	switch {
	case errors.As(err, &sys):
		return fsx.DiskError("read the archive", err)
	case errors.Is(err, io.ErrUnexpectedEOF) && s.Entries == 0:
		return api.Errorf(api.KindInvalid, "this is no tar archive, or it is cut off in its first file")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return api.Errorf(api.KindInvalid, "the archive is cut off after %d files", s.Entries)
	case s.Entries == 0:
		return api.Errorf(api.KindInvalid, "this is no tar archive: %w", err)
	}
	return api.Errorf(api.KindInvalid, "the archive is damaged after %d files: %w", s.Entries, err)
}

type unpacker struct {
	tree   tree
	limits limits
	s      *summary
	dirs   []*tar.Header
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name, u.limits.path)
	if err != nil {
		return err
	}
	u.s.Entries++
	u.s.Bytes += max(h.Size, 0)
	if u.s.Entries > u.limits.entries {
		return api.Errorf(api.KindInvalid, "the archive holds more than %d files", u.limits.entries)
	}
	if u.s.Bytes > u.limits.bytes {
		return api.Errorf(api.KindInvalid, "the archive holds more than %d GiB", u.limits.bytes>>30)
	}
	h.Name = name
	made, err := u.make(h, content)
	if err != nil || !made {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return nil
	}
	if h.Typeflag == tar.TypeDir {
		u.dirs = append(u.dirs, h)
	}
	return u.wrap(name, u.tree.attributes(name, h, u.s))
}

func (u *unpacker) wrap(name string, err error) error {
	var e *api.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	var sys syscall.Errno
	if errors.As(err, &sys) && sys != syscall.ENOSPC && sys != syscall.EDQUOT && sys != syscall.EIO {
		return api.Errorf(api.KindInvalid, "cannot unpack %.200q: %w", name, err)
	}
	return fsx.DiskError("unpack", err)
}

// make makes what an entry names, without its attributes.
func (u *unpacker) make(h *tar.Header, content io.Reader) (bool, error) {
	switch h.Typeflag {
	case tar.TypeDir:
		return true, u.wrap(h.Name, u.tree.mkdir(h.Name))
	case tar.TypeReg, tar.TypeGNUSparse:
		source := &archiveReader{r: content}
		err := u.tree.file(h.Name, source)
		if source.err != nil {
			return false, archiveError(*u.s, source.err)
		}
		return true, u.wrap(h.Name, err)
	case tar.TypeSymlink:
		if err := checkTarget(h.Linkname, u.limits.path); err != nil {
			return false, err
		}
		return true, u.wrap(h.Name, u.tree.symlink(h.Linkname, h.Name))
	case tar.TypeLink:
		target, err := cleanName(h.Linkname, u.limits.path)
		if err != nil {
			return false, err
		}
		return true, u.wrap(h.Name, u.tree.link(target, h.Name))
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		kind := map[byte]uint32{tar.TypeFifo: syscall.S_IFIFO, tar.TypeChar: syscall.S_IFCHR, tar.TypeBlock: syscall.S_IFBLK}[h.Typeflag]
		made, err := u.tree.node(h.Name, kind, device(h.Devmajor, h.Devminor))
		if err == nil && !made {
			u.s.Devices++
		}
		return made, u.wrap(h.Name, err)
	case tar.TypeXGlobalHeader:
		u.s.Entries--
		return false, nil
	}
	return false, api.Errorf(api.KindInvalid, "cannot unpack %.200q: entries of type %q are not supported", h.Name, h.Typeflag)
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

// cleanName makes an entry's name relative and clean, or refuses it.
func cleanName(name string, longest int) (string, error) {
	if err := checkTarget(name, longest); err != nil {
		return "", err
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", badName(name, "leads out of the archive")
		}
		if len(part) > 255 { // NAME_MAX
			return "", badName(name, "is too long")
		}
	}
	return path.Clean(strings.TrimLeft("./"+strings.TrimLeft(name, "/"), "/")), nil
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

func badName(name, why string) error {
	return api.Errorf(api.KindInvalid, "cannot unpack the archive: the name %s %s", fmt.Sprintf("%.200q", name), why)
}
