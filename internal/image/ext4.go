package image

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/image/ext4"
	"banger/internal/image/tarball"
)

// isExt4 reports whether a file that starts with head is an ext4 file system, and not
// an archive that has the magic number by chance.
func isExt4(head []byte) bool {
	return ext4.Is(head) && !tarball.IsCompressed(head) && !tarball.IsTar(head)
}

// prepareFile makes an ext4 file usable as an image: complete, clean, and of a size
// that disks can have. It returns the size in bytes.
func prepareFile(ctx context.Context, file string, report api.Report) (int64, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return 0, fsx.DiskError("read the file system", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fsx.DiskError("read the file system", err)
	}
	s, err := ext4.ReadSuper(f)
	if err != nil {
		return 0, err
	}
	if s.Bytes > info.Size() {
		return 0, api.Errorf(api.KindInvalid, "its file system is cut off: the file has %d bytes of %d", info.Size(), s.Bytes)
	}
	if !s.Clean {
		report(api.Progress{Step: "image", Message: "replaying the journal of the file system"})
		if err := repair(ctx, file); err != nil {
			return 0, err
		}
	}
	size := (info.Size() + mib - 1) / mib * mib
	return size, fsx.DiskError("read the file system", errors.Join(f.Truncate(size), f.Sync()))
}

// repair cleans a file system that was not unmounted. e2fsck returns 1 if it has done
// so (e2fsck(8)).
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
