package bootup

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// growIoctl is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64) (fs/ext4/ext4.h): the kernel grows a
// mounted file system to a number of blocks, under its journal, so that a crash in between
// leaves one size or the other.
const growIoctl = 0x40086610

// leastGrowth is the difference in bytes from which a file system is grown.
const leastGrowth = 1 << 20

// sizeEvery is how often the size of a disk is read that is about to grow, and sizeWait how long:
// the VMM has told the guest by an interrupt, which an emulated one may take a while to handle.
const (
	sizeEvery = 20 * time.Millisecond
	sizeWait  = 30 * time.Second
)

// growMounted makes the file system of the root, which is in use, as large as its disk, as soon as
// that has as many bytes.
func growMounted(ctx context.Context, device string, bytes int64) error {
	ctx, cancel := context.WithTimeout(ctx, sizeWait)
	defer cancel()
	for {
		has, err := sizeOf(device)
		if err != nil {
			return err
		}
		if has >= bytes {
			return growRoot(device, "/")
		}
		select {
		case <-time.After(sizeEvery):
		case <-ctx.Done():
			return fmt.Errorf("%s has %d MiB, and did not grow to %d MiB within %s", device, has>>20, bytes>>20, sizeWait)
		}
	}
}

// sizeOf returns the size of a disk in bytes.
func sizeOf(device string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, io.SeekEnd)
}

// growRoot makes the file system that is mounted at a place as large as its disk, which was
// made larger. That one already is costs a read of its superblock.
func growRoot(device, at string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, 1024); err != nil {
		return &os.PathError{Op: "read", Path: device, Err: err}
	}
	blocks, block, err := ext4Size(super)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size-int64(blocks*block) < leastGrowth {
		return nil
	}
	root, err := os.Open(at)
	if err != nil {
		return err
	}
	defer root.Close()
	wanted := uint64(size) / block
	say("the root disk has grown: its file system grows from %d to %d MiB", blocks*block>>20, size>>20)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, root.Fd(), growIoctl, uintptr(unsafe.Pointer(&wanted))); e != 0 {
		return fmt.Errorf("grow the file system of %s: %w", device, e)
	}
	return nil
}

// ext4Size is how many blocks a file system has by its superblock, and of how many bytes
// (kernel.org/doc/html/latest/filesystems/ext4/globals.html).
func ext4Size(super []byte) (blocks, block uint64, err error) {
	const magic, bits64 = 0xef53, 0x80
	le := binary.LittleEndian
	if le.Uint16(super[0x38:]) != magic || le.Uint32(super[0x18:]) > 6 {
		return 0, 0, fmt.Errorf("no superblock of ext4")
	}
	blocks, block = uint64(le.Uint32(super[4:])), 1024<<le.Uint32(super[0x18:])
	if le.Uint32(super[0x60:])&bits64 != 0 {
		blocks |= uint64(le.Uint32(super[0x150:])) << 32
	}
	return blocks, block, nil
}
