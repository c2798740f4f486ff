package filecopy

import (
	"os"

	"golang.org/x/sys/unix"
)

// existing searches for what an earlier copy has stored of a file: all of it, under its
// name, with the expected size and time; or its beginning, under the temporary name. It
// returns the number of bytes, with their checksum. Only the source can tell whether
// its bytes are the same.
func (t *target) existing(e Entry) (n int64, whole bool, sum []byte) {
	if e.Size == 0 {
		return 0, false, nil
	}
	dir, base, err := t.at.parent(e.Name)
	if err != nil {
		return 0, false, nil
	}
	if f := openSame(dir, base, e); f != nil {
		defer f.Close()
		if sum, err := prefixSum(f, e.Size); err == nil {
			return e.Size, true, sum
		}
		return 0, false, nil
	}
	if e.Size < keepFrom {
		return 0, false, nil
	}
	f, size, err := openPart(dir, partName(base))
	if err != nil {
		return 0, false, nil
	}
	defer f.Close()
	n = min(size, e.Size) / sumBlock * sumBlock
	if n == 0 {
		return 0, false, nil
	}
	if sum, err = prefixSum(f, n); err != nil {
		return 0, false, nil
	}
	return n, false, sum
}

// openSame opens the file at name if it has the size and time of e.
func openSame(dir *os.File, base string, e Entry) *os.File {
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), e.Name)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != e.Size || !sameTime(st.Mtim, e) {
		f.Close()
		return nil
	}
	return f
}

func sameTime(at unix.Timespec, e Entry) bool {
	return at.Sec == e.MTime.Unix() && at.Nsec == int64(e.MTime.Nanosecond())
}

// refresh sets the attributes of an existing file.
func (t *target) refresh(e Entry) error {
	dir, base, err := t.at.parent(e.Name)
	if err != nil {
		return err
	}
	f := openSame(dir, base, e)
	if f == nil {
		return refuse(e.Name, "it changed while it was compared")
	}
	defer f.Close()
	if err := t.attributes(f, e); err != nil {
		return named(e.Name, err)
	}
	return t.linkable(e, true)
}
