package image

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"banger/api"
	"banger/internal/execx"
	"banger/internal/fsx"
)

// The superblock of ext4: where it is, and what is read of it
// (https://docs.kernel.org/filesystems/ext4/globals.html).
const (
	superOffset = 1024
	superBytes  = 1024
	headBytes   = superOffset + superBytes

	ext4Magic      = 0xEF53
	stateClean     = 0x1
	incompatRecov  = 0x4 // the journal has to be replayed
	incompatJourn  = 0x8 // it is a journal and no file system
	incompat64bit  = 0x80
	tarMagicOffset = 257 // of "ustar" (tar(5))
)

// isExt4 says whether a file that begins with head is an ext4 file system. The
// magic number has two bytes only, so that an archive may have it by chance.
func isExt4(head []byte) bool {
	return len(head) == headBytes && !isCompressed(head) &&
		string(head[tarMagicOffset:tarMagicOffset+5]) != "ustar" &&
		binary.LittleEndian.Uint16(head[superOffset+0x38:]) == ext4Magic
}

// super is what a superblock says.
type super struct {
	bytes int64 // size of the file system
	clean bool
}

func readSuper(r io.ReaderAt) (super, error) {
	head := make([]byte, headBytes)
	if _, err := r.ReadAt(head, 0); err != nil || !isExt4(head) {
		return super{}, api.Errorf(api.KindInvalid, "it is no ext4 file system")
	}
	b, le := head[superOffset:], binary.LittleEndian
	incompat, logSize := le.Uint32(b[0x60:]), le.Uint32(b[0x18:])
	if incompat&incompatJourn != 0 || logSize > 6 { // blocks of 64 KiB at most
		return super{}, api.Errorf(api.KindInvalid, "it is no ext4 file system that a guest can use")
	}
	blocks := uint64(le.Uint32(b[0x4:]))
	if incompat&incompat64bit != 0 {
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	const most = 1 << 44 // 16 TiB, what a disk of a VM cannot have
	if blocks == 0 || blocks > most>>(10+logSize) {
		return super{}, api.Errorf(api.KindInvalid, "its ext4 file system has an impossible size: %d blocks", blocks)
	}
	return super{
		bytes: int64(blocks << (10 + logSize)),
		clean: le.Uint16(b[0x3A:])&stateClean != 0 && incompat&incompatRecov == 0,
	}, nil
}

// importExt4 imports a file system as it is. It is not mounted.
func (c *Cache) importExt4(ctx context.Context, f *os.File, req api.ImportImage, report api.Report) (api.Image, error) {
	return c.addFile(ctx, []string{req.Name}, &meta{Source: req.Path}, report, func(to string) error {
		return cloneFile(ctx, f.Name(), to, report)
	})
}

// addFile makes an image of an ext4 file that put puts into place.
func (c *Cache) addFile(ctx context.Context, names []string, m *meta, report api.Report, put func(to string) error) (api.Image, error) {
	return c.staged(ctx, func(dir string) (api.Image, error) {
		out := filepath.Join(dir, "image")
		if err := os.Mkdir(out, 0o700); err != nil {
			return api.Image{}, fsx.DiskError("make directory", err)
		}
		file := filepath.Join(out, rootfsFile)
		if err := put(file); err != nil {
			return api.Image{}, fsx.DiskError("copy the file system", err)
		}
		size, err := settle(ctx, file, report)
		if err != nil {
			return api.Image{}, err
		}
		m.DiskBytes = size
		return c.seal(ctx, out, names, m, report)
	})
}

// settle makes an ext4 file fit to be an image's: whole, clean, and of a size
// that disks can have. It returns the size.
func settle(ctx context.Context, file string, report api.Report) (int64, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return 0, fsx.DiskError("read the file system", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fsx.DiskError("read the file system", err)
	}
	s, err := readSuper(f)
	if err != nil {
		return 0, err
	}
	if s.bytes > info.Size() {
		return 0, api.Errorf(api.KindInvalid, "its file system is cut off: the file has %d bytes of %d", info.Size(), s.bytes)
	}
	if !s.clean {
		report(api.Progress{Step: "image", Message: "replaying the journal of the file system"})
		if err := repair(ctx, file); err != nil {
			return 0, err
		}
	}
	size := (info.Size() + mib - 1) / mib * mib
	return size, fsx.DiskError("read the file system", errors.Join(f.Truncate(size), f.Sync()))
}

// repair makes a file system clean that was not unmounted. 1 is e2fsck's way to
// say that it has done so (e2fsck(8)).
func repair(ctx context.Context, file string) error {
	err := execx.Run(ctx, execx.Cmd{Name: "e2fsck", Args: []string{"-f", "-y", file}, Package: "e2fsprogs"})
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil
	}
	if errors.As(err, &exit) {
		return api.Errorf(api.KindInvalid, "its file system is damaged: %w", err)
	}
	return err
}
