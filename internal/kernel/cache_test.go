package kernel

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
)

func unused(string) []string { return nil }

// TestDeletionHoldsTheCache: nobody gets a kernel from the question who uses it until it is
// gone, so that who got it before is seen.
func TestDeletionHoldsTheCache(t *testing.T) {
	c := newCache(t)
	k, err := importFake(t, c, "mine")
	must(t, err)
	got := make(chan error, 1)
	must(t, c.Delete(k.Digest, func(string) []string {
		go func() { _, err := c.Get(k.Digest); got <- err }()
		select {
		case err := <-got:
			t.Errorf("it was got while it was being deleted: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		return nil
	}))
	if err := <-got; api.KindOf(err) != api.KindNotFound {
		t.Errorf("it was got when it was gone: %v", err)
	}
}

func TestImportDeleteAndNames(t *testing.T) {
	c := newCache(t)
	first, err := importFake(t, c, "mine")
	must(t, err)
	if first.Release != fakeRelease || strings.Join(first.Names, " ") != "default mine" || first.SizeBytes == 0 {
		t.Errorf("%+v", first)
	}
	if got := order(t, c, first); got != fakeOrder {
		t.Errorf("loaded in the order %s\nwant %s", got, fakeOrder)
	}
	if again, err := importFake(t, c, "mine"); err != nil || again.Digest != first.Digest {
		t.Errorf("the same kernel again: %+v, %v", again, err)
	}
	second, err := importFake(t, c, "other")
	must(t, err)
	if second.Digest == first.Digest || strings.Join(second.Names, " ") != "other" {
		t.Errorf("%+v", second)
	}
	hex := strings.TrimPrefix(first.Digest, "sha256:")
	for _, ref := range []string{"mine", "default", first.Digest, hex, hex[:16], "sha256:" + hex[:16]} {
		if k, err := c.Get(ref); err != nil || k.Digest != first.Digest {
			t.Errorf("%s: %+v, %v", ref, k, err)
		}
	}
	for ref, want := range map[string]api.Kind{
		fakeRelease: api.KindInvalid, // means both
		"sha256:":   api.KindNotFound, "": api.KindNotFound, "absent": api.KindNotFound, "0123456789abcdef0": api.KindNotFound,
	} {
		if _, err := c.Get(ref); api.KindOf(err) != want {
			t.Errorf("%q: %v, want kind %s", ref, err, want)
		}
	}
	users := func(digest string) []string {
		if digest == first.Digest {
			return []string{"fox"}
		}
		return nil
	}
	if err := c.Delete("mine", users); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "it is used by fox") {
		t.Errorf("deleting a used kernel: %v", err)
	}
	must(t, c.Delete("mine", unused))
	if _, err := c.Default(); api.KindOf(err) != api.KindNotFound {
		t.Errorf("the default of a deleted kernel: %v", err)
	}
	if err := c.Delete("mine", unused); api.KindOf(err) != api.KindNotFound {
		t.Errorf("deleted again: %v", err)
	}
	if left, err := c.List(); err != nil || len(left) != 1 || left[0].Digest != second.Digest {
		t.Errorf("left: %+v, %v", left, err)
	}
	nothingStaged(t, c)
}

func TestImportRefuses(t *testing.T) {
	c := newCache(t)
	root := t.TempDir()
	fakeTree(t, root, "x")
	kernel, modules := filepath.Join(root, "boot/vmlinuz-"+fakeRelease), filepath.Join(root, "lib/modules", fakeRelease)
	text := filepath.Join(root, "text")
	write(t, text, []byte("#!/bin/sh\n"))
	for name, req := range map[string]api.ImportKernel{
		"host and file":      {Host: true, Path: kernel},
		"relative":           {Path: "boot/vmlinuz"},
		"a bad name":         {Path: kernel, Modules: modules, Name: "../x"},
		"no kernel":          {Path: text, Modules: modules},
		"absent":             {Path: kernel + "-absent", Modules: modules},
		"a directory":        {Path: root, Modules: modules},
		"no modules there":   {Path: kernel, Modules: root},
		"not its modules":    {Path: kernel, Modules: filepath.Join(root, "boot")},
		"an absent modules":  {Path: kernel, Modules: modules + "-absent"},
		"a device as kernel": {Path: "/dev/zero", Modules: modules},
	} {
		if _, err := c.Import(t.Context(), req, quiet); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.Remove(filepath.Join(modules, "kernel/net/failover.ko")))
	if _, err := c.Import(t.Context(), api.ImportKernel{Path: kernel, Modules: modules}, quiet); err == nil ||
		!strings.Contains(err.Error(), "failover, which net_failover needs,") {
		t.Errorf("a module that is missing: %v", err)
	}
	if left, _ := c.List(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	nothingStaged(t, c)
}

func TestHostKernel(t *testing.T) {
	const release = "6.9.1"
	for place, modules := range map[string]bool{
		"boot/vmlinuz-6.9.1": true, "lib/modules/6.9.1/vmlinuz": true, "usr/lib/modules/6.9.1/vmlinuz": false, "boot/vmlinuz-linux": false,
	} {
		root := t.TempDir()
		write(t, filepath.Join(root, place), nil)
		if modules {
			must(t, os.MkdirAll(filepath.Join(root, "lib/modules", release), 0o755))
		}
		s, err := findHostKernel(root, release)
		if err != nil || s.kernel != filepath.Join(root, place) || (s.modules != "") != modules {
			t.Errorf("%s: %+v, %v", place, s, err)
		}
	}
	if _, err := findHostKernel(t.TempDir(), release); api.KindOf(err) != api.KindNotFound || api.AsError(err).Hint == "" {
		t.Errorf("none: %v", err)
	}
}

func TestPullsAtTheSameTimeAreOne(t *testing.T) {
	f, c := newFakeApt(t), newCache(t)
	var wg sync.WaitGroup
	digests := make([]string, 6)
	for i := range digests {
		wg.Go(func() {
			k, err := c.Pull(t.Context(), api.PullKernel{}, quiet)
			if err != nil {
				t.Error(err)
			}
			digests[i] = k.Digest
		})
	}
	wg.Wait()
	for _, d := range digests {
		if d == "" || d != digests[0] {
			t.Errorf("%v", digests)
		}
	}
	if f.calls("download") != 1 || f.calls("update") != 1 {
		t.Errorf("%d downloads, %d updates", f.calls("download"), f.calls("update"))
	}
	k, err := c.Default()
	must(t, err)
	if got := order(t, c, k); got != fakeOrder || !strings.HasPrefix(k.Source, "package ") {
		t.Errorf("%+v loads %s", k, got)
	}
	nothingStaged(t, c)

	f.publish(t, "second") // the same name, another content
	if again, err := c.Pull(t.Context(), api.PullKernel{}, quiet); err != nil || again.Digest != k.Digest {
		t.Errorf("without a refresh: %+v, %v", again, err)
	}
	fresh, err := c.Pull(t.Context(), api.PullKernel{Refresh: true}, quiet)
	if err != nil || fresh.Digest == k.Digest {
		t.Errorf("refreshed: %+v, %v", fresh, err)
	}
	if d, err := c.Default(); err != nil || d.Digest != fresh.Digest {
		t.Errorf("the default is %+v, %v", d, err)
	}
}

func TestInterruptedAndFailedPullsLeaveNothing(t *testing.T) {
	f, c := newFakeApt(t), newCache(t)
	f.switchOn(t, "hang")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 { // one that pulls, one that waits for it
		go func() {
			_, err := c.Pull(ctx, api.PullKernel{}, quiet)
			ended <- err
		}()
	}
	for f.calls("download") == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	for range 2 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("an interrupted pull succeeded")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("an interrupted pull goes on")
		}
	}
	nothingStaged(t, c)
	f.switchOff(t, "hang")

	f.switchOn(t, "broken")
	if _, err := c.Pull(t.Context(), api.PullKernel{}, quiet); err == nil || api.AsError(err).Hint == "" {
		t.Errorf("a download that fails: %v", err)
	}
	nothingStaged(t, c)
	f.switchOff(t, "broken")
	if left, _ := c.List(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if _, err := c.Pull(t.Context(), api.PullKernel{}, quiet); err != nil {
		t.Errorf("then: %v", err)
	}
}
