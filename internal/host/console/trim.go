package console

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The bounds of a log in bytes. A log is cut to Keep when it is longer than Max, so
// that it is not cut at every line.
const (
	Max  = 4 << 20
	Keep = 1 << 20
)

// trim frees the oldest bytes of a log that is longer than most, except for the last
// keep. It succeeds without a log.
func trim(path string, most, keep int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Blocks*512 <= most || st.Size <= keep {
		return nil
	}
	if err := punch(f, st.Size-keep, int64(st.Blksize)); err == nil || !noHoles(err) {
		return err
	}
	return rewrite(path, f, keep)
}

// punch frees the whole blocks before end (fallocate(2)).
func punch(f *os.File, end, block int64) error {
	end -= end % max(block, 1)
	if end <= 0 {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, end)
	if err != nil {
		return os.NewSyscallError("fallocate", err)
	}
	return nil
}

func noHoles(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

// rewrite is for file systems without holes: it reads the end, truncates the file, and
// appends the end again. What the VMM writes in the meantime is kept, but may be before
// the older lines, or is lost.
func rewrite(path string, f *os.File, keep int64) error {
	if _, err := f.Seek(-keep, io.SeekEnd); err != nil {
		return err
	}
	end, err := io.ReadAll(io.LimitReader(f, keep))
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if _, err := out.Write(end); err != nil {
		out.Close()
		return fmt.Errorf("cannot rewrite the end of %s: %w", path, err)
	}
	return out.Close()
}

// firstByte returns the offset of the first stored byte.
func firstByte(f *os.File) (int64, error) {
	start, err := f.Seek(0, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // empty, or only a hole
		return f.Seek(0, io.SeekEnd)
	}
	return start, err
}
