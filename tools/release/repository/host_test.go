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
	fx := newFixture(t)
	memory := t.TempDir()
	sees := func(want ...string) *repo.Repository {
		t.Helper()
		r, err := repo.Open(repo.Options{Root: fx.root, URL: fx.url, Dir: memory, Platform: "linux/arm64", Now: func() time.Time { return fx.now }})
		fx.must(err)
		fx.must(r.Refresh(t.Context()))
		if got := r.Versions(); !slices.Equal(got, want) || len(r.Warnings()) != 0 {
			t.Errorf("a host sees %v, not %v; warnings: %v", got, want, r.Warnings())
		}
		return r
	}
	fx.publish("v1.2.3")
	sees("v1.2.3")
	fx.publish("v1.3.0-rc.1")
	fx.must(fx.do((*Repository).Timestamp, fx.only("timestamp-1")))
	dir, public, _ := fx.newKey("targets")
	fx.must(fx.do(rotate(Rotation{Remove: []string{fx.id("targets-1")}, Add: []RoleKey{{"targets", public}}}), fx.keys, dir))
	r := sees("v1.3.0-rc.1", "v1.2.3")
	latest, ok := r.Latest()
	if !ok || latest.Version != "v1.2.3" || latest.Commit != "0123456789ab" {
		t.Errorf("the latest is %+v", latest)
	}
	path, err := r.Download(t.Context(), latest, t.TempDir(), func(int64, int64) {})
	fx.must(err)
	f, err := os.Open(path)
	fx.must(err)
	defer f.Close()
	unpacked := t.TempDir() + "/new"
	fx.must(archive.Unpack(f, unpacked))
	for _, name := range release.Programs {
		if data, err := os.ReadFile(unpacked + "/" + name); err != nil || string(data) != name+" v1.2.3 arm64" {
			t.Errorf("%s: %q %v", name, data, err)
		}
	}
	fx.must(fx.do(func(r *Repository, k Keys) error { return r.Withdraw("v1.3.0-rc.1", k) }, fx.keys, dir))
	sees("v1.2.3")
}
