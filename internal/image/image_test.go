package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/paths"
	"banger/internal/queue"
)

// open opens a cache in a directory of its own.
func open(t *testing.T) *Cache {
	t.Helper()
	dir := t.TempDir()
	p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: filepath.Join(dir, "cache"), Config: dir}
	c, err := Open(p, apt.New(p.Apt()))
	if err != nil {
		t.Fatal(err)
	}
	c.maker.work.turns = queue.New(1) // what waits for itself hangs
	t.Cleanup(func() { checkClean(t, c) })
	return c
}

// checkClean looks for what half-made work has left.
func checkClean(t *testing.T, c *Cache) {
	t.Helper()
	if left, err := os.ReadDir(c.maker.work.dir); err != nil || len(left) > 0 {
		t.Errorf("left in staging: %v %v", left, err)
	}
}

func silent(api.Progress) {}

func save(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rootfs.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// debugfs asks for what is in an image.
func debugfs(t *testing.T, file, request string) string {
	t.Helper()
	path, err := execx.LookPath("debugfs", "e2fsprogs")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "-R", request, file).CombinedOutput()
	if err != nil {
		t.Fatalf("debugfs %s: %v\n%s", request, err, out)
	}
	return string(out)
}

func fsck(t *testing.T, file string) {
	t.Helper()
	path, err := execx.LookPath("e2fsck", "e2fsprogs")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "-fn", file).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

func TestImport(t *testing.T) {
	c, ctx := open(t), context.Background()
	start := time.Now()
	img, err := c.Import(ctx, api.ImportImage{Path: save(t, busybox(t)), Name: "busybox"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("import: %v, disk %d MiB, occupies %d MiB", time.Since(start), img.DiskBytes>>20, img.SizeBytes>>20)
	base, err := c.Disk(ctx, img.Digest, img.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	fsck(t, base)
	for request, want := range map[string]string{
		"stat /bin/busybox": "Mode:  04755",
		"stat /bin/ls":      "Links: 2",
		"stat /bin/sh":      `Fast link dest: "busybox"`,
		"stat /home/me/f":   "User:  1000   Group:  1001",
		"stat /":            "Mode:  0755",
		"stat /run/pipe":    "Type: FIFO",
		"cat /home/me/f":    "hello",
	} {
		if got := debugfs(t, base, request); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
	}
	start = time.Now()
	const size = 20 << 30
	disk, err := c.Disk(ctx, img.Digest, size, silent)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(disk)
	if err != nil || info.Size() != size {
		t.Fatalf("the disk: %v %v", info, err)
	}
	img, err = c.Get(img.Digest[:16])
	t.Logf("disk of 20 GiB: %v; image and disk occupy %d MiB", time.Since(start), img.SizeBytes>>20)
	if err != nil {
		t.Error(err)
	}
	fsck(t, disk)
}

// TestTold: whoever imports learns what the image lacks.
func TestTold(t *testing.T) {
	c := open(t)
	var mu sync.Mutex
	var told strings.Builder
	data := archive(t, tar.Header{Name: "f", Typeflag: tar.TypeReg, Uid: 1<<32 - 1, Format: tar.FormatPAX, Linkname: "x"})
	_, err := c.Import(context.Background(), api.ImportImage{Path: save(t, data), Name: "told"}, func(p api.Progress) {
		mu.Lock()
		defer mu.Unlock()
		told.WriteString(p.Message + "\n")
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"no /bin/sh", "files of the image given to root: 1,"} {
		if !strings.Contains(told.String(), w) {
			t.Errorf("not told that %s:\n%s", w, told.String())
		}
	}
}

func TestDiskSizes(t *testing.T) {
	c, ctx := open(t), context.Background()
	img, err := c.Import(ctx, api.ImportImage{Path: save(t, busybox(t)), Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{-1, 0, img.DiskBytes - 1, img.DiskBytes + 1} {
		if _, err := c.Disk(ctx, img.Digest, size, silent); api.KindOf(err) != api.KindInvalid {
			t.Errorf("a disk of %d bytes: %v", size, err)
		}
	}
	disk, err := c.Disk(ctx, img.Digest, 1<<40, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("1 TiB: %s", debugfs(t, disk, "show_super_stats -h")[:300])
}

func TestConcurrentDisks(t *testing.T) {
	c, ctx := open(t), context.Background()
	img, err := c.Import(ctx, api.ImportImage{Path: save(t, busybox(t)), Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := c.Disk(ctx, img.Digest, 1<<30, silent); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	busy := func(string) []string { return []string{"fox"} }
	unknown := func(string) ([]int64, bool) { return nil, false }
	if pruned, err := c.Prune(false, busy, unknown); err != nil || len(pruned.Removed) > 0 {
		t.Errorf("pruned %v although nobody knows what is used, %v", pruned, err)
	}
	dry, err := c.Prune(true, unused, noDisks)
	if err != nil {
		t.Fatal(err)
	}
	pruned, err := c.Prune(false, unused, noDisks)
	if err != nil || len(pruned.Removed) != 1 || pruned.ReclaimedBytes == 0 || !reflect.DeepEqual(pruned, dry) {
		t.Errorf("pruned %v, %v; a dry run said %v", pruned, err, dry)
	}
	if err := c.Delete("b", busy); api.KindOf(err) != api.KindConflict {
		t.Errorf("deleting a used image: %v", err)
	}
	if err := c.Delete("b", unused); err != nil {
		t.Error(err)
	}
	if _, err := c.Get("b"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("after deletion: %v", err)
	}
}

func TestBadArchives(t *testing.T) {
	c := open(t)
	outside := filepath.Join(t.TempDir(), "outside")
	good := busybox(t)
	reg := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: "x"} }
	for _, tt := range []struct {
		name string
		data []byte
		want string // "" where the archive is harmless
	}{
		{"empty", nil, "empty"},
		{"text", []byte(strings.Repeat("no tar ", 500)), "not a tar archive"},
		{"truncated", good[:len(good)/2], "cut off"},
		{"truncated gzip", gzipped(t, good)[:20000], "cut off"},
		{"nothing in it", archive(t), "empty"},
		{"dots", archive(t, reg("../../../../../"+outside)), "escapes the archive"},
		{"absolute", archive(t, reg(outside)), fmt.Sprintf("the name %q is absolute", outside)},
		{"the root by its other name", archive(t, tar.Header{Name: "/", Typeflag: tar.TypeDir}, reg("a")), ""},
		{"through a link", archive(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: filepath.Dir(outside)}, reg("a/outside")), ""},
		{"hard link", archive(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "cannot unpack"},
		{"newline", archive(t, reg("a\nb")), ""},
		{"newline in a link", archive(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "b\nc"}), ""},
		{"long", archive(t, reg(strings.Repeat("a", 300))), "too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Import(context.Background(), api.ImportImage{Path: save(t, tt.data), Name: "bad"}, silent)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want != "" && (api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if _, err := os.Lstat(outside); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it has written outside: %v", err)
			}
			checkClean(t, c)
		})
	}
	for path, want := range map[string]api.Kind{"/no/such": api.KindNotFound, "x": api.KindInvalid, t.TempDir(): api.KindInvalid} {
		if _, err := c.Import(context.Background(), api.ImportImage{Path: path, Name: "bad"}, silent); api.KindOf(err) != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func TestCancel(t *testing.T) {
	c := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	var calls atomic.Int32
	_, err := c.Import(ctx, api.ImportImage{Path: save(t, busybox(t)), Name: "b"}, func(api.Progress) {
		if calls.Add(1) == 2 { // the job runs
			cancel()
		}
	})
	if api.KindOf(err) != api.KindCanceled {
		t.Errorf("got %v", err)
	}
	if images, err := c.List(); err != nil || len(images) != 0 {
		t.Errorf("left: %v %v", images, err)
	}
}
