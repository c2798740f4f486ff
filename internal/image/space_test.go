package image

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/apt"
	"banger/internal/paths"
	"banger/internal/userns"
)

const jobFullDisk = "test-full-disk"

// TestFullDisk imports on file systems that are too small, in a mount
// namespace of its own, where an ordinary user, too, may mount a tmpfs.
func TestFullDisk(t *testing.T) {
	noise := make([]byte, 10*mib)
	_, _ = rand.Read(noise)
	file := save(t, archive(t, tar.Header{Name: "noise", Typeflag: tar.TypeReg, Linkname: string(noise)}))
	for _, tt := range []struct{ size, fails string }{
		{"4m", "import"},  // while unpacking
		{"16m", "import"}, // before the file system is made
		{"80m", "disk"},
	} {
		err := userns.Run(context.Background(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir(), file, tt.size, tt.fails}})
		if err != nil {
			t.Errorf("%s: %v", tt.size, err)
		}
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir, file, size, fails := args[0], args[1], args[2], args[3]
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		return err
	}
	p := paths.Paths{Data: filepath.Join(dir, "data")}
	c, err := Open(p, apt.New(filepath.Join(dir, "apt")))
	if err != nil {
		return err
	}
	img, err := c.Import(ctx, api.ImportImage{Path: file, Name: "noise"}, silent)
	if fails == "disk" && err == nil {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, int64(st.Bavail)*st.Bsize-2*mib), 0o600); err != nil {
			return err
		}
		_, err = c.Disk(ctx, img.Digest, 1<<30, silent)
	}
	if api.KindOf(err) != api.KindNoSpace || !strings.Contains(err.Error(), c.staging) || api.AsError(err).Hint == "" {
		return fmt.Errorf("got %v, want an error of kind no_space that names %s", err, c.staging)
	}
	if left, err := os.ReadDir(c.staging); err != nil || len(left) > 0 {
		return fmt.Errorf("left in staging: %v %v", left, err)
	}
	return nil
}
