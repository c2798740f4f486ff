package image

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/image/distro"
	"banger/internal/paths"
	"banger/test/harness"
)

// shared opens the cache that test runs share, so that the image is built once
// per recipe and user. It is held by one test process at a time.
func shared(t *testing.T) *Cache {
	t.Helper()
	cache, err := harness.Cache()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "image-"+distro.Host().Recipe(distro.Host().Image()))
	p := paths.Paths{Data: dir, Cache: filepath.Join(dir, "cache"), Config: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := EmptyStaging(context.Background(), p.Staging()); err != nil {
		t.Fatal(err)
	}
	c, err := Open(p, apt.New(p.Apt()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPull(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: building the distribution's image")
	}
	c, ctx := shared(t), context.Background()
	var last api.Progress
	start := time.Now()
	report := func(p api.Progress) {
		if p.Message != last.Message || p.Done >= last.Done+10 {
			t.Logf("%5.1f s: %s %d%%", time.Since(start).Seconds(), p.Message, p.Done)
			last = p
		}
	}
	img, err := c.Pull(ctx, api.PullImage{Name: distro.Host().Image()}, report)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: disk %d MiB, occupies %d MiB", time.Since(start), img.DiskBytes>>20, img.SizeBytes>>20)
	base, err := c.Disk(ctx, img.Digest, img.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	fsck(t, base)
	for request, want := range map[string]string{
		"cat /etc/hostname":                                         "localhost",
		"stat /etc/machine-id":                                      "Size: 0",
		"stat /usr/bin/git":                                         "Type: regular",
		"stat /usr/bin/passwd":                                      "Mode:  04755",
		"stat /usr/bin/chage":                                       "Group:    42",
		"stat /etc/resolv.conf":                                     "Size: 0",
		"stat /etc/apt/apt.conf.d/99mmdebstrap":                     "File not found",
		"ls /etc/apt/sources.list.d":                                c.records.names.host.Image() + ".sources",
		"cat /etc/apt/sources.list.d/debian.sources":                "URIs:",
		"stat /usr/share/keyrings/" + keyring(c.records.names.host): "Type: regular",
	} {
		request = strings.Replace(request, "debian.sources", c.records.names.host.Image()+".sources", 1)
		if got := debugfs(t, base, request); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
	}
	start = time.Now()
	disk, err := c.Disk(ctx, img.Digest, 8<<30, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("disk of 8 GiB: %v", time.Since(start))
	fsck(t, disk)
}

func keyring(r distro.Release) string { return r.Image() + "-archive-keyring.gpg" }
