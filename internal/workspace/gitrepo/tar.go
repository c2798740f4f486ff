package gitrepo

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// TarOptions say what WriteTar writes beside the files.
type TarOptions struct {
	// Prefix is a directory, with slashes, that all names are below; empty: none.
	Prefix string
	// Extra are directories of this host whose contents follow the files, such as that of
	// BuildGit.
	Extra []string
	// Note, unless nil, receives what became of a file that was not written as it was listed.
	Note func(path, what string)
	// Each, unless nil, is called after each file with the bytes of content that it had.
	Each func(path string, bytes int64)
}

// WriteTar writes files as a tar stream, with the directories above them. A file that changes
// while it is read is read again if it is small. Otherwise the stream has as many bytes of it as
// its header says, and o.Note is told, as of a file that is gone. Owners are not written.
//
// Files of a commit are written as a checkout would write them into an empty directory: with the
// line ends, encodings and filters that .gitattributes of that commit and the repository's config
// say, such as git-lfs's, and without git-archive's export-ignore and export-subst. Other filters
// do not run.
func (r *Repo) WriteTar(ctx context.Context, w io.Writer, files []File, o TarOptions) error {
	base, remove, err := checkOut(ctx, files)
	if err != nil {
		return err
	}
	defer remove()
	buffered := bufio.NewWriterSize(w, 256<<10)
	p := &packer{ctx: ctx, tar: tar.NewWriter(buffered), opts: o, dirs: map[string]bool{".": true}}
	if err := p.prefix(); err != nil {
		return err
	}
	top, commit := r.top, base != ""
	if commit {
		top = base
	}
	if err := p.all(top, files, commit); err != nil {
		return err
	}
	for _, dir := range o.Extra {
		extra, err := everything(dir)
		if err == nil {
			err = p.all(dir, extra, false)
		}
		if err != nil {
			return err
		}
	}
	if err := p.tar.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// everything lists everything in a directory of ours.
func everything(dir string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(dir, func(full string, d fs.DirEntry, err error) error {
		if err != nil || full == dir {
			return err
		}
		name, err := filepath.Rel(dir, full)
		if err != nil {
			return err
		}
		f := File{Path: name, Mode: d.Type() | 0o755}
		if d.Type()&fs.ModeSymlink != 0 {
			f.Link, err = os.Readlink(full)
		}
		files = append(files, f)
		return err
	})
	return files, err
}

// packer writes a tar stream.
type packer struct {
	ctx  context.Context
	tar  *tar.Writer
	opts TarOptions
	top  *os.File
	// commit: the files' permissions are those of the list, and not of the temporary directory.
	commit bool
	dirs   map[string]bool // written already
	buf    []byte
}

func (p *packer) note(name, what string) {
	if p.opts.Note != nil {
		p.opts.Note(name, what)
	}
}

// all writes files that are below the directory top.
func (p *packer) all(top string, files []File, commit bool) error {
	dir, err := os.OpenFile(top, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return api.Errorf(api.KindNotFound, "cannot open %s: %w", top, fsx.Cause(err))
	}
	defer dir.Close()
	p.top, p.commit = dir, commit
	for _, f := range files {
		if p.ctx.Err() != nil {
			return api.Errorf(api.KindCanceled, "the files were not all written: %w", context.Cause(p.ctx))
		}
		if err := p.above(path.Dir(f.Path)); err != nil {
			return err
		}
		n, err := p.entry(f)
		if err != nil {
			return err
		}
		if p.opts.Each != nil {
			p.opts.Each(f.Path, n)
		}
	}
	return nil
}

// prefix writes the directory of the prefix, which exists even if no file does.
func (p *packer) prefix() error {
	if p.opts.Prefix == "" {
		return nil
	}
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: p.opts.Prefix + "/", Mode: 0o755, ModTime: time.Now(), Format: tar.FormatPAX})
}

// above writes a directory and those above it, once.
func (p *packer) above(name string) error {
	if p.dirs[name] {
		return nil
	}
	if err := p.above(path.Dir(name)); err != nil {
		return err
	}
	p.dirs[name] = true
	h := &tar.Header{Typeflag: tar.TypeDir, Name: path.Join(p.opts.Prefix, name) + "/", Mode: 0o755, Format: tar.FormatPAX}
	var st unix.Stat_t
	// One that is gone, or a link now, is a plain directory: what was below it follows.
	if f, err := p.open(name, unix.O_PATH|unix.O_DIRECTORY); err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
		f.Close()
		if err == nil {
			h.ModTime = time.Unix(st.Mtim.Unix())
			if !p.commit {
				h.Mode = int64(st.Mode & 0o777)
			}
		}
	}
	return p.tar.WriteHeader(h)
}

// open opens a name below the top. No link is followed: what a path was when it was listed may
// be a link now that leads to files nobody asked for.
func (p *packer) open(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(int(p.top.Fd()), name, &how)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}
