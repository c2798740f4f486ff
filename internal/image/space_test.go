package image

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/userns"
	"banger/internal/image/oci/registrytest"
	"banger/internal/paths"
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
	if api.KindOf(err) != api.KindNoSpace || !strings.Contains(err.Error(), c.maker.work.dir) || api.AsError(err).Hint == "" {
		return fmt.Errorf("got %v, want an error of kind no_space that names %s", err, c.maker.work.dir)
	}
	if left, err := os.ReadDir(c.maker.work.dir); err != nil || len(left) > 0 {
		return fmt.Errorf("left in staging: %v %v", left, err)
	}
	return nil
}

const jobFullPull = "test-full-pull"

// TestFullDiskDuringPull pulls while somebody else fills the disk, in the middle of a
// layer; the same pull succeeds once there is room.
func TestFullDiskDuringPull(t *testing.T) {
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullPull, Args: []string{t.TempDir()}}); err != nil {
		t.Error(err)
	}
}

func runFullPull(ctx context.Context, args []string, _ func(any)) error {
	dir := args[0]
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=80m"); err != nil {
		return err
	}
	hub := registrytest.Start(registrytest.Options{})
	defer hub.Close()
	if err := pushNoise(hub, "noise:1", 6*mib); err != nil {
		return err
	}
	c, err := Open(paths.Paths{Data: filepath.Join(dir, "data"), Cache: filepath.Join(dir, "cache")}, apt.New(filepath.Join(dir, "apt")))
	if err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	hub.Set(registrytest.Blobs(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&behind{ResponseWriter: w, left: 2 * mib, then: func() { fillDisk(ballast) }}, r)
	}))
	name := hub.Host + "/noise:1"
	_, err = c.Pull(ctx, api.PullImage{Name: name}, silent)
	if e := api.AsError(err); e == nil || e.Kind != api.KindNoSpace || !strings.Contains(e.Message, "cannot pull "+name) ||
		!strings.Contains(e.Message, dir) || !strings.Contains(e.Hint, "free space there") {
		return fmt.Errorf("got %v, want an error of kind no_space that names the image and %s, and says what helps", err, dir)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "cache", "blobs", "sha256", "*"))
	if staged, err := os.ReadDir(c.maker.work.dir); err != nil || len(staged) > 0 || len(left) > 0 {
		return fmt.Errorf("left: %v %v %v", left, staged, err)
	}
	hub.Set(nil)
	if _, err := c.Pull(ctx, api.PullImage{Name: name}, silent); api.KindOf(err) != api.KindNoSpace {
		return fmt.Errorf("on a disk that is still full: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if _, err := c.Pull(ctx, api.PullImage{Name: name}, silent); err != nil {
		return fmt.Errorf("when there is room: %w", err)
	}
	return nil
}

// pushNoise pushes an image of one layer that no compression makes smaller.
func pushNoise(hub *registrytest.Registry, name string, n int) error {
	noise := make([]byte, n)
	_, _ = rand.Read(noise)
	layer, err := registrytest.Files(map[string]string{"noise": string(noise)})
	if err != nil {
		return err
	}
	img, err := registrytest.Image("", v1.Config{}, layer)
	if err != nil {
		return err
	}
	return hub.Push(name, img)
}

// behind calls then once, behind so many bytes of a body.
type behind struct {
	http.ResponseWriter
	left int
	then func()
}

// Write implements http.ResponseWriter.
func (b *behind) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left <= 0 && b.then != nil {
		b.then()
		b.then = nil
	}
	return b.ResponseWriter.Write(p)
}

// fillDisk fills the disk by a file of that name.
func fillDisk(file string) {
	f, err := os.Create(file)
	if err != nil {
		return
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
}
