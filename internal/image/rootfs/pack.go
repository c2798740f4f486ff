package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/host/userns"
	"banger/internal/image/ext4/fill"
)

// BlockSize is the size in bytes of the blocks of an image's file system.
const BlockSize = 4096

const (
	inodeSize = 256
	mib       = 1 << 20
	// largest is the size that an image's file system can grow to without moving its
	// tables: 1 TiB in blocks (mke2fs(8), -E resize=).
	largest = (1 << 40) / BlockSize
	// uuid is the same for all images, so that two builds differ less. It also seeds
	// the hashes of directories, which need not be secret.
	uuid = "6f9b2c52-64d5-4a51-9a86-d7c1a0f0ba4e"
)

// content is the space that a tree needs in a file system.
type content struct {
	blocks int64 // of BlockSize
	inodes int64
}

// measure adds up what the tree at dir needs.
func measure(dir string) (content, error) {
	var c content
	links := map[uint64]bool{}
	var device uint64
	var names int64 // their size in directories, in bytes
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if path == dir && ok {
			device = st.Dev
		}
		if ok && st.Dev != device {
			return api.Errorf(api.KindInvalid, "%.200q is on another file system, which does not belong to %s", path, dir)
		}
		if ok && st.Nlink > 1 && !info.IsDir() {
			if links[st.Ino] {
				return nil
			}
			links[st.Ino] = true
		}
		c.inodes++
		names += int64(len(d.Name())) + 12
		switch {
		case info.Mode().IsRegular() && ok:
			n, err := dataBytes(path, st)
			if err != nil {
				return err
			}
			c.blocks += (n + BlockSize - 1) / BlockSize
		case info.IsDir():
			c.blocks++
		case info.Mode()&fs.ModeSymlink != 0 && info.Size() >= 60: // longer ones need a block (ext4, i_block)
			c.blocks++
		}
		return nil
	})
	c.blocks += names / BlockSize
	return c, err
}

// dataBytes returns how many bytes of a file are not holes. The space that a file
// occupies does not tell this: some file systems allocate ahead, and some compress.
func dataBytes(path string, st *syscall.Stat_t) (int64, error) {
	if st.Blocks*512 >= st.Size {
		return st.Size, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var sum int64
	for end := int64(0); ; {
		start, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if err == unix.ENXIO { // only a hole follows (lseek(2))
			return sum, nil
		}
		if err == nil {
			end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		}
		if err != nil {
			return 0, os.NewSyscallError("lseek", err)
		}
		sum += end - start
	}
}

// diskBytes returns the size of the image's file system: the content, a fifth more for
// what cannot be predicted (extent trees, directories that grow), the inode tables and
// the journal.
func (c content) diskBytes() int64 {
	n := (c.blocks*BlockSize+c.inodes*inodeSize)*6/5 + 64*mib
	return (n + mib - 1) / mib * mib
}

// runPack makes the file args[1] an ext4 file system with the tree args[0]. The file
// args[2] lists the deferred attributes, if it is not "".
func runPack(ctx context.Context, args []string, emit func(any)) error {
	dir, file, list := args[0], args[1], args[2]
	c, err := measure(dir)
	if err != nil {
		return err
	}
	size := c.diskBytes()
	if err := fsx.NeedSpace(filepath.Dir(file), c.blocks*BlockSize+24*mib); err != nil {
		return err
	}
	var deferred map[string]deferredAttrs
	if list != "" {
		if deferred, err = readDeferred(list); err != nil {
			return err
		}
	}
	emit(Event{Progress: &api.Progress{Step: "image", Message: "writing the file system"}})
	for try := 1; ; try++ {
		lost, err := makeFS(ctx, dir, file, size, c.inodes, deferred)
		if errors.Is(err, fill.ErrFull) && try < packTries {
			size *= 2 // many attributes, or files with many holes, need extra blocks
			continue
		}
		if err != nil {
			return err
		}
		emit(Event{DiskBytes: size, Lost: lost})
		return nil
	}
}

// packTries is how often a larger file system is tried.
const packTries = 4

// Pack makes the tree at root a new ext4 file, and returns the size of its file system in
// bytes. staged says that root is in a directory of its own, in which Unpack may have left
// a list of deferred attributes.
func Pack(ctx context.Context, root, file string, staged bool, report api.Report) (diskBytes int64, err error) {
	deferred := ""
	if staged {
		deferred = deferredFile(root)
		if _, err := os.Stat(deferred); os.IsNotExist(err) {
			deferred = "" // no archive was unpacked
		}
	}
	if err := makeFile(file); err != nil {
		return 0, err
	}
	result, err := Run(ctx, report, userns.Call{Job: jobPack, Args: []string{root, file, deferred}})
	if err == nil {
		Summary{Attrs: result.Lost}.Warn(report)
	}
	return result.DiskBytes, err
}

// makeFile makes an empty file, so that a disk error is found early.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fsx.DiskError("make image", err)
	}
	return f.Close()
}
