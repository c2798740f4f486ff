package repository

import (
	"os"
	"slices"
	"testing"
	"time"

	"banger/internal/update/archive"
	"banger/internal/update/release"
	"banger/internal/update/repo"
)

// TestWhatIsPublishedHostsTake: the client of `banger update`, which is stricter
// than go-tuf's, from publication through rotation to withdrawal.
func TestWhatIsPublishedHostsTake(t *testing.T) {
	w := newWorld(t)
	memory := t.TempDir()
	sees := func(want ...string) *repo.Repository {
		t.Helper()
		r, err := repo.Open(repo.Options{Root: w.root, URL: w.url, Dir: memory, Platform: "linux/arm64", Now: func() time.Time { return w.now }})
		w.must(err)
		w.must(r.Refresh(t.Context()))
		if got := r.Versions(); !slices.Equal(got, want) || len(r.Warnings()) != 0 {
			t.Errorf("a host sees %v, not %v; warnings: %v", got, want, r.Warnings())
		}
		return r
	}
	w.publish("v1.2.3")
	sees("v1.2.3")
	w.publish("v1.3.0-rc.1")
	w.must(w.do((*Repository).Timestamp, w.only("timestamp-1")))
	dir, public, _ := w.newKey("targets")
	w.must(w.do(rotate(Rotation{Remove: []string{w.id("targets-1")}, Add: []RoleKey{{"targets", public}}}), w.keys, dir))
	r := sees("v1.3.0-rc.1", "v1.2.3")
	latest, ok := r.Latest()
	if !ok || latest.Version != "v1.2.3" || latest.Commit != "0123456789ab" {
		t.Errorf("the latest is %+v", latest)
	}
	path, err := r.Download(t.Context(), latest, t.TempDir(), func(int64, int64) {})
	w.must(err)
	f, err := os.Open(path)
	w.must(err)
	defer f.Close()
	unpacked := t.TempDir() + "/new"
	w.must(archive.Unpack(f, unpacked))
	for _, name := range release.Programs {
		if data, err := os.ReadFile(unpacked + "/" + name); err != nil || string(data) != name+" v1.2.3 arm64" {
			t.Errorf("%s: %q %v", name, data, err)
		}
	}
	w.must(w.do(func(r *Repository, k Keys) error { return r.Withdraw("v1.3.0-rc.1", k) }, w.keys, dir))
	sees("v1.2.3")
}
