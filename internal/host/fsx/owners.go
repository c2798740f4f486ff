package fsx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// OwnersAlone refuses a file, or a link in its place, that users other than root can
// change; tests set another uid than root's.
func OwnersAlone(path string, uid int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || int(st.Uid) != uid || info.Mode().Perm()&0o022 != 0 {
		return errors.New("others than root can change it")
	}
	return nil
}

// OpenDirError is a directory in which users other than root can replace files.
type OpenDirError struct{ Dir string }

func (e *OpenDirError) Error() string {
	return fmt.Sprintf("others than root can change %s", e.Dir)
}

// DirsAlone checks dir and all directories above it, and returns an OpenDirError for
// the first one in which users other than root and uid can replace files. In a sticky
// directory (inode(7)) they cannot.
func DirsAlone(dir string, uid int) error {
	for ; ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return fmt.Errorf("check %s: %w", dir, err)
		}
		if st.Uid != 0 && int(st.Uid) != uid || st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
			return &OpenDirError{dir}
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
