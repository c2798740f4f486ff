// Package archive unpacks programs. An archive was verified before, but is still
// treated as hostile: a stolen key must not lead to a file outside the new directory, a
// device, or a setuid program.
package archive

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/update/release"
)

// block is the unit of a tar file (pax, POSIX.1-2024, "ustar Interchange Format").
const block = 512

// maxPadding bounds the zeros after the last file. GNU tar fills a record of
// 10 KiB.
const maxPadding = 64 << 10

// File is a file to unpack from an archive.
type File struct {
	Name string // its name in the archive
	As   string // its name in the directory, without slashes
}

// Layout describes what an archive has to contain, and which files are unpacked.
type Layout struct {
	What  string // its name in errors
	Hint  string // the hint of errors
	Files []File
	Size  int64 // bounds each of Files, in bytes
	// Others allows other files, directories and extended headers, which are skipped;
	// without it only Files are allowed.
	Others bool
	Total  int64 // with Others: bounds the size of the unpacked archive, in bytes
}

// releases returns the layout of banger's own releases: exactly its programs.
func releases() Layout {
	l := Layout{What: "the release", Hint: "nothing was unpacked; tell the repository's publisher", Size: release.MaxProgram}
	for _, name := range release.Programs {
		l.Files = append(l.Files, File{name, name})
	}
	return l
}

// Unpack makes dir, which must not exist, and unpacks a gzip-compressed tar into
// it: exactly release.Programs, regular files, mode 0755. On failure it removes
// what it made.
func Unpack(r io.Reader, dir string) error { return releases().Unpack(r, dir) }

// Unpack unpacks an archive of layout l as the function Unpack does.
func (l Layout) Unpack(r io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return l.diskError(err)
	}
	err := l.unpack(r, dir)
	if err == nil {
		err = l.diskError(errors.Join(fsx.SyncDir(dir), fsx.SyncDir(filepath.Dir(dir)))) // the files' names, and the directory's own
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

func (l Layout) diskError(err error) error { return fsx.DiskError("unpack "+l.What, err) }

func (l Layout) unpack(r io.Reader, dir string) error {
	// The caller's umask must not lock out bangerd, which is not root.
	if err := os.Chmod(dir, 0o755); err != nil {
		return l.diskError(err)
	}
	in := bufio.NewReader(r) // an io.ByteReader, so that gzip does not read past its data
	zip, err := gzip.NewReader(in)
	if errors.Is(err, context.Canceled) {
		return l.broken("", err)
	}
	if err != nil {
		return l.refuse("it is not compressed with gzip: %w", err)
	}
	zip.Multistream(false)
	u := &unpacker{Layout: l, dir: dir, from: &counter{from: zip, limit: math.MaxInt64}, seen: map[string]bool{}}
	if l.Others {
		u.from.limit = l.Total
	}
	u.tar = tar.NewReader(u.from)
	if err := u.files(); err != nil {
		return err
	}
	if err := u.padding(); err != nil {
		return err
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return l.refuse("there is data after its compressed data")
	}
	return nil
}

type unpacker struct {
	Layout
	dir  string
	from *counter
	tar  *tar.Reader
	next int64 // where the next header must start
	seen map[string]bool
}

// files unpacks all entries, and requires all programs.
func (u *unpacker) files() error {
	for {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u.broken("", err)
		}
		as, wanted := u.wanted(h.Name)
		if err := u.check(h, wanted); err != nil {
			return err
		}
		if !wanted {
			continue
		}
		if err := u.write(h, as); err != nil {
			return err
		}
		u.seen[as] = true
		u.next += block + (h.Size+block-1)/block*block
	}
	for _, f := range u.Files {
		if !u.seen[f.As] {
			return u.refuse("%s is missing", f.Name)
		}
	}
	return nil
}

// wanted returns the name under which an entry is unpacked, if it is. If others are
// allowed, a name may start with ./, as tar(1) writes it for files of the current
// directory.
func (u *unpacker) wanted(name string) (as string, wanted bool) {
	if u.Others {
		name = strings.TrimPrefix(name, "./")
	}
	i := slices.IndexFunc(u.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return "", false
	}
	return u.Files[i].As, true
}

// check refuses every entry except wanted regular files and, if others are allowed,
// other regular files and directories.
func (u *unpacker) check(h *tar.Header, wanted bool) error {
	name := fmt.Sprintf("%.100q", h.Name)
	as, _ := u.wanted(h.Name)
	switch {
	case u.Others && !wanted && slices.Contains([]byte{tar.TypeReg, tar.TypeDir, tar.TypeXGlobalHeader}, h.Typeflag):
		return nil
	case h.Typeflag != tar.TypeReg:
		return u.refuse("%s is %s, not a file", name, kind(h.Typeflag))
	case !u.Others && u.from.read != u.next+block:
		// More than one header was read: extended headers can change an entry's name or
		// size, or add holes, and not all readers agree about them.
		return u.refuse("%s has an extended header", name)
	case u.seen[as]:
		return u.refuse("%s is there twice", name)
	case !wanted:
		return u.refuse("%s %s", name, stranger(h.Name))
	case h.Mode&0o7000 != 0:
		return u.refuse("%s has mode %04o, with a setuid, setgid or sticky bit", name, h.Mode)
	case h.Size < 1 || h.Size > u.Size:
		return u.refuse("%s has %d bytes: 1 to %d are allowed", name, h.Size, u.Size)
	}
	return nil
}

// stranger says what is wrong with an unexpected name.
func stranger(name string) string {
	switch {
	case strings.HasPrefix(name, "/"):
		return "is an absolute name"
	case !filepath.IsLocal(name):
		return "escapes the directory"
	case strings.Contains(name, "/"):
		return "is in a subdirectory"
	}
	return "is not one of banger's programs"
}

// kind names a type of entry (tar(5)).
func kind(flag byte) string {
	kinds := map[byte]string{
		tar.TypeLink: "a hard link", tar.TypeSymlink: "a symbolic link", tar.TypeChar: "a device", tar.TypeBlock: "a device",
		tar.TypeDir: "a directory", tar.TypeFifo: "a FIFO", tar.TypeGNUSparse: "a sparse file", tar.TypeXGlobalHeader: "a global header",
	}
	if k, ok := kinds[flag]; ok {
		return k
	}
	return fmt.Sprintf("of unknown type %q", flag)
}

func (u *unpacker) write(h *tar.Header, as string) error {
	// O_EXCL does not follow links and does not open existing files (open(2)).
	f, err := os.OpenFile(filepath.Join(u.dir, as), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o755)
	if err != nil {
		return u.diskError(err)
	}
	defer f.Close()
	if err := u.copyFile(f, h); err != nil {
		return err
	}
	// Chmod, because the umask took bits away.
	return u.diskError(errors.Join(f.Chmod(0o755), f.Sync(), f.Close()))
}

// copyFile copies an entry and distinguishes a bad archive from a full disk.
func (u *unpacker) copyFile(f io.Writer, h *tar.Header) error {
	buf := make([]byte, 128<<10)
	for {
		n, err := u.tar.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return u.diskError(werr)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return u.broken(h.Name, err)
		}
	}
}

// padding reads what follows the last entry: zeros up to the end of the compressed
// data, whose checksum is verified there.
func (u *unpacker) padding() error {
	buf := make([]byte, block)
	for total := 0; ; {
		n, err := u.from.Read(buf)
		if slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) {
			return u.refuse("there is data after its last file")
		}
		if total += n; total > maxPadding {
			return u.refuse("there are more than %d bytes after its last file", maxPadding)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return u.broken("", err)
		}
	}
}

// counter counts the bytes read of the tar file.
type counter struct {
	from  io.Reader
	read  int64
	limit int64
}

var errTooMuch = errors.New("it is too large when unpacked")

func (c *counter) Read(p []byte) (int, error) {
	if c.read > c.limit {
		return 0, errTooMuch
	}
	n, err := c.from.Read(p)
	c.read += int64(n)
	return n, err
}

// broken explains why an archive cannot be read.
func (l Layout) broken(name string, err error) error {
	if name != "" {
		name = " in " + name
	}
	switch {
	case errors.Is(err, context.Canceled):
		return api.Errorf(api.KindCanceled, "cannot unpack %s: it was cancelled", l.What)
	case errors.Is(err, errTooMuch):
		return l.refuse("it unpacks to more than %d bytes", l.Total)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return l.refuse("it is cut off%s", name)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return l.refuse("it is damaged%s: %w", name, err)
	}
	return l.refuse("it cannot be read%s: %w", name, err)
}

func (l Layout) refuse(format string, args ...any) error {
	return api.Errorf(api.KindDenied, "cannot unpack %s: %w", l.What, fmt.Errorf(format, args...)).WithHint("%s", l.Hint)
}
