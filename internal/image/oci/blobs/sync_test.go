package blobs

import (
	"testing"

	"banger/api"
	"banger/internal/host/fsx/synctest"
)

// TestFailedSyncs: a layer that could not be synced is not there, and is got again from its
// beginning: what the cache has of it is not what the disk has.
func TestFailedSyncs(t *testing.T) {
	dir := t.TempDir()
	s, d := Open(dir), data(1<<20)
	var src *server
	synctest.Below(t, dir).Each(t, synctest.Errors, func(t *testing.T) {
		if err := s.Prune(false, func(string) bool { return false }, new(api.Pruned)); err != nil {
			t.Fatal(err)
		}
		src = &server{data: d}
	}, func() error { return s.Get(t.Context(), blobOf(d), src.open, silent) }, func(t *testing.T, err error) {
		if names := left(t, s.dir); err != nil && names != "" {
			t.Errorf("it failed with %v, and left %s", err, names)
		}
		if err := get(t, s, blobOf(d), src.open); err != nil {
			t.Error(err)
		}
		if err != nil && (len(src.asked) != 2 || src.asked[1] != 0) {
			t.Errorf("asked for %v", src.asked)
		}
	})
}
