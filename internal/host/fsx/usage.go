package fsx

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Usage returns how many bytes path and everything below it occupy on disk: holes in
// sparse files do not count (st_blocks, stat(2)). Files that disappear in the meantime
// do not count.
func Usage(path string) int64 {
	var total int64
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			total += blocks(info)
		}
		return nil
	})
	return total
}

// UsageOf is what an open file takes of the disk, in bytes.
func UsageOf(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return blocks(info), nil
}

func blocks(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
