// Package archive unpacks a release. An archive was signed before it gets here,
// and is still read as if an attacker had made it: a stolen key must not become
// a file outside the new directory, a device, or a program with a bit of root's.
package archive

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/fsx"
	"banger/internal/update/release"
)

// block is the unit of a tar file (pax, POSIX.1-2024, "ustar Interchange Format").
const block = 512

// maxPadding bounds the zeros after the last file. GNU tar fills a record of
// 10 KiB.
const maxPadding = 64 << 10

// Unpack makes dir, which must not exist, and unpacks a gzip-compressed tar into
// it: exactly release.Programs, regular files, mode 0755. On failure it removes
// what it made.
func Unpack(r io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fsx.DiskError("unpack the release", err)
	}
	err := unpack(r, dir)
	if err == nil {
		err = syncBoth(dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// syncBoth makes the files' names durable, and the directory's own.
func syncBoth(dir string) error {
	err := errors.Join(fsx.SyncDir(dir), fsx.SyncDir(filepath.Dir(dir)))
	return fsx.DiskError("unpack the release", err)
}

func unpack(r io.Reader, dir string) error {
	// The caller's umask must not keep bangerd, which is not root, out.
	if err := os.Chmod(dir, 0o755); err != nil {
		return fsx.DiskError("unpack the release", err)
	}
	in := bufio.NewReader(r) // an io.ByteReader, so that gzip reads no byte too many
	zip, err := gzip.NewReader(in)
	if err != nil {
		return refuse("it is not compressed with gzip: %w", err)
	}
	zip.Multistream(false)
	u := &unpacker{dir: dir, from: &counter{from: zip}, seen: map[string]bool{}}
	u.tar = tar.NewReader(u.from)
	if err := u.files(); err != nil {
		return err
	}
	if err := u.padding(); err != nil {
		return err
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return refuse("something follows its compressed data")
	}
	return nil
}

type unpacker struct {
	dir  string
	from *counter
	tar  *tar.Reader
	next int64 // where the next header has to be
	seen map[string]bool
}

// files unpacks all entries, and wants all programs.
func (u *unpacker) files() error {
	for {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return broken("", err)
		}
		if err := u.check(h); err != nil {
			return err
		}
		if err := u.write(h); err != nil {
			return err
		}
		u.seen[h.Name] = true
		u.next += block + (h.Size+block-1)/block*block
	}
	for _, name := range release.Programs {
		if !u.seen[name] {
			return refuse("%s is missing", name)
		}
	}
	return nil
}

// check refuses every entry but a plain file that is one of the programs.
func (u *unpacker) check(h *tar.Header) error {
	name := fmt.Sprintf("%.100q", h.Name)
	switch {
	case h.Typeflag != tar.TypeReg:
		return refuse("%s is %s, not a file", name, kind(h.Typeflag))
	case u.from.read != u.next+block:
		// More than one header was read: extended ones can give an entry another
		// name or size, and holes, and not every reader agrees about them.
		return refuse("%s has an extended header", name)
	case u.seen[h.Name]:
		return refuse("%s is there twice", name)
	case !slices.Contains(release.Programs, h.Name):
		return refuse("%s %s", name, stranger(h.Name))
	case h.Mode&0o7000 != 0:
		return refuse("%s has mode %04o, with a setuid, setgid or sticky bit", name, h.Mode)
	case h.Size < 1 || h.Size > release.MaxProgram:
		return refuse("%s has %d bytes: 1 to %d are allowed", name, h.Size, release.MaxProgram)
	}
	return nil
}

// stranger says what is wrong with a name that is not expected.
func stranger(name string) string {
	switch {
	case strings.HasPrefix(name, "/"):
		return "is an absolute name"
	case !filepath.IsLocal(name):
		return "leads out of the directory"
	case strings.Contains(name, "/"):
		return "lies in a directory of its own"
	}
	return "is none of banger's programs"
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

func (u *unpacker) write(h *tar.Header) error {
	// O_EXCL follows no link and opens nothing that is there (open(2)).
	f, err := os.OpenFile(filepath.Join(u.dir, h.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o755)
	if err != nil {
		return fsx.DiskError("unpack the release", err)
	}
	defer f.Close()
	if err := copyFile(f, u.tar, h); err != nil {
		return err
	}
	// Chmod, because the umask took bits away.
	return fsx.DiskError("unpack the release", errors.Join(f.Chmod(0o755), f.Sync(), f.Close()))
}

// copyFile copies an entry and tells a bad archive from a full disk.
func copyFile(f io.Writer, from io.Reader, h *tar.Header) error {
	buf := make([]byte, 128<<10)
	for {
		n, err := from.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return fsx.DiskError("unpack the release", werr)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(h.Name, err)
		}
	}
}

// padding reads what follows the last entry: zeros to the end of the compressed
// data, whose checksum is verified there.
func (u *unpacker) padding() error {
	buf := make([]byte, block)
	for total := 0; ; {
		n, err := u.from.Read(buf)
		if slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) {
			return refuse("something follows its last file")
		}
		if total += n; total > maxPadding {
			return refuse("it goes on after its last file for more than %d bytes", maxPadding)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken("", err)
		}
	}
}

// counter knows how far the tar file was read.
type counter struct {
	from io.Reader
	read int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.read += int64(n)
	return n, err
}

// broken says what is wrong with the file as a file.
func broken(name string, err error) error {
	if name != "" {
		name = " in " + name
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse("it is cut off%s", name)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return refuse("it is damaged%s: %w", name, err)
	}
	return refuse("it cannot be read%s: %w", name, err)
}

func refuse(format string, args ...any) error {
	return api.Errorf(api.KindDenied, "cannot unpack the release: "+format, args...).
		WithHint("nothing was unpacked; tell the repository's publisher")
}
