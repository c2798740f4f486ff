package kernel

import (
	"slices"
	"strings"
	"testing"

	"banger/api"
)

// TestAvailable: what the lists name of the default's flavor, the newest first, and what of it is here. Without
// lists it says so, and nothing but --refresh fetches any.
func TestAvailable(t *testing.T) {
	f, c := newFakeApt(t), newCache(t)
	_, err := c.Available(t.Context(), false)
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "no package lists have been fetched yet") || !strings.Contains(api.AsError(err).Hint, "--refresh") {
		t.Errorf("without lists: %v", err)
	}
	if f.calls("update") != 0 {
		t.Error("it fetched the lists")
	}
	found, err := c.Available(t.Context(), true)
	must(t, err)
	var releases []string
	for _, k := range found.Kernels {
		releases = append(releases, k.Release)
		if k.Default != (k.Release == "6.1.0-bz") || k.Version != "1:6.1.1" || k.SizeBytes != 2000 || k.Digest != "" {
			t.Errorf("it says %+v", k)
		}
	}
	if !slices.Equal(releases, []string{"6.1.0-bz", "6.1.0-10-bz", "6.1.0-9-bz"}) || found.ListsFetchedAt.IsZero() {
		t.Errorf("there are %v, of %s", releases, found.ListsFetchedAt)
	}
	k, err := c.Pull(t.Context(), api.PullKernel{}, quiet)
	must(t, err)
	found, err = c.Available(t.Context(), false)
	must(t, err)
	if here := found.Kernels[0]; here.Digest != k.Digest || !here.Outdated { // the fake's file is k.deb, whatever the version
		t.Errorf("pulled it is %+v", here)
	}
	if f.calls("update") != 1 {
		t.Errorf("the lists were fetched %d times", f.calls("update"))
	}
}

// TestPullRelease: another kernel than the newest is named by its release, and the default stays.
func TestPullRelease(t *testing.T) {
	f, c := newFakeApt(t), newCache(t)
	first, err := c.Pull(t.Context(), api.PullKernel{}, quiet)
	must(t, err)
	f.publish(t, "second")
	k, err := c.Pull(t.Context(), api.PullKernel{Release: "6.1.0-9-bz"}, quiet)
	must(t, err)
	if !slices.Equal(k.Names, []string{"6.1.0-9-bz"}) || k.Digest == first.Digest {
		t.Errorf("pulled %+v", k)
	}
	if d, err := c.Default(); err != nil || d.Digest != first.Digest {
		t.Errorf("the default is %+v, %v", d, err)
	}
	for release, kind := range map[string]api.Kind{"6.1.0-8-bz": api.KindNotFound, "6.1.0-9-rt-amd64": api.KindNotFound, "../x": api.KindInvalid, "-x": api.KindInvalid} {
		if _, err := c.Pull(t.Context(), api.PullKernel{Release: release}, quiet); api.KindOf(err) != kind {
			t.Errorf("%s: %v", release, err)
		}
	}
}

func TestVersionsOfPackages(t *testing.T) {
	for name, want := range map[string]string{
		"linux-image-6.1.0-38-cloud-amd64": "linux-image-cloud-amd64", "linux-image-6.12.43+deb13-cloud-amd64": "linux-image-cloud-amd64",
		"linux-image-6.8.0-60-generic": "linux-image-generic", "linux-image-unsigned-6.8.0-60-generic": "linux-image-unsigned-generic",
	} {
		if got := flavor(name); got != want {
			t.Errorf("the flavor of %s is %s", name, got)
		}
	}
	sorted := []string{"x-6.1.0-9-a", "x-6.1.0-38-a", "x-6.10.0-1-a", "x-6.12.43+deb13-a", "x-7.0-a"}
	for i := range sorted {
		for j := range sorted {
			if got := compareVersions(sorted[i], sorted[j]); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s: %d", sorted[i], sorted[j], got)
			}
		}
	}
}
