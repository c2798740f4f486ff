package gitrepo

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// entry writes a file as it is now, and returns how many bytes of content it had.
func (p *packer) entry(f File) (int64, error) {
	if f.Mode.IsDir() {
		return 0, p.above(f.Path)
	}
	in, err := p.open(f.Path, unix.O_RDONLY|unix.O_NONBLOCK) // a named pipe would wait
	switch {
	case errors.Is(err, unix.ELOOP):
		return 0, p.link(f)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		p.note(f.Path, "is gone: it did not ship")
		return 0, nil
	case errors.Is(err, unix.ENXIO): // a socket
		p.note(f.Path, "is not a file any more: it did not ship")
		return 0, nil
	case err != nil:
		return 0, api.Errorf(api.KindDenied, "cannot read %s: %w", f.Path, err).WithHint("change its mode, or list it in .gitignore")
	}
	defer in.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		p.note(f.Path, "is not a file any more: it did not ship")
		return 0, nil
	}
	if st.Size <= small {
		return p.small(f, in, st)
	}
	return p.large(f, in, st)
}

// link writes a symbolic link.
func (p *packer) link(f File) error {
	in, err := p.open(f.Path, unix.O_PATH)
	target := make([]byte, unix.PathMax)
	var st unix.Stat_t
	n := 0
	if err == nil {
		if n, err = unix.Readlinkat(int(in.Fd()), "", target); err == nil {
			err = unix.Fstat(int(in.Fd()), &st)
		}
		in.Close()
	}
	if err != nil { // the link is one of the directories above, or gone
		p.note(f.Path, "is gone: it did not ship")
		return nil
	}
	h := p.header(f, st, 0)
	h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, string(target[:n]), 0o777
	return p.tar.WriteHeader(h)
}

// small is up to which size a file is read before its header is written, in bytes.
const small = 1 << 20

// rereads is how often a small file is read again because it changed.
const rereads = 3

func (p *packer) small(f File, in *os.File, st unix.Stat_t) (int64, error) {
	if p.buf == nil {
		p.buf = make([]byte, small)
	}
	for again := 0; ; again++ {
		n, err := io.ReadFull(io.NewSectionReader(in, 0, st.Size), p.buf[:st.Size])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, unread(f.Path, err)
		}
		var now unix.Stat_t
		if err := unix.Fstat(int(in.Fd()), &now); err != nil {
			return 0, unread(f.Path, err)
		}
		different := changed(st, now) || int64(n) < st.Size
		if different && again < rereads && now.Size <= small {
			st = now
			continue
		}
		if different {
			p.note(f.Path, hasChanged)
		}
		if err := p.tar.WriteHeader(p.header(f, st, int64(n))); err != nil {
			return 0, err
		}
		_, err = p.tar.Write(p.buf[:n])
		return int64(n), err
	}
}

const hasChanged = "changed while it was read: what shipped may be a mixture"

// large streams a file. What it lacks at the end of the size in its header are zeros.
func (p *packer) large(f File, in *os.File, st unix.Stat_t) (int64, error) {
	if err := p.tar.WriteHeader(p.header(f, st, st.Size)); err != nil {
		return 0, err
	}
	n, err := io.Copy(p.tar, io.LimitReader(&stoppable{p.ctx, in}, st.Size))
	if err != nil {
		return n, unread(f.Path, err)
	}
	if n < st.Size {
		if _, err := io.CopyN(p.tar, zeroes{}, st.Size-n); err != nil {
			return n, err
		}
	}
	var now unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &now); err != nil {
		return n, unread(f.Path, err)
	}
	if n < st.Size || changed(st, now) {
		p.note(f.Path, hasChanged)
	}
	return st.Size, nil
}

func unread(name string, err error) error {
	return api.Errorf(api.KindOf(err), "cannot read %s: %w", name, fsx.Cause(err))
}

func changed(before, after unix.Stat_t) bool {
	return before.Size != after.Size || before.Mtim != after.Mtim || before.Ctim != after.Ctim
}

func (p *packer) header(f File, st unix.Stat_t, size int64) *tar.Header {
	mode := int64(st.Mode & 0o777)
	if p.commit {
		mode = int64(f.Mode.Perm())
	}
	return &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(p.opts.Prefix, f.Path), Size: size, Mode: mode, ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX}
}

// stoppable is a file that cannot be read any more when ctx has ended.
type stoppable struct {
	ctx context.Context
	in  *os.File
}

func (s *stoppable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, api.Errorf(api.KindCanceled, "it was stopped: %w", context.Cause(s.ctx))
	}
	return s.in.Read(p)
}

// zeroes reads as zeros without an end.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
