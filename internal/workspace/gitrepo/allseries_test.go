package gitrepo

import (
	"path/filepath"
	"slices"
	"testing"

	"banger/api"
	"banger/internal/workspace/series"
)

// TestAllSeries: what is banger's is counted and removed, also in submodules, and nothing else.
func TestAllSeries(t *testing.T) {
	dir := submodules(t)
	r := open(t, dir)
	for range 11 {
		_, err := r.Snapshot(t.Context(), "gone", "x", Select{})
		must(t, err)
		write(t, dir, "sub/a", git(t, dir, "for-each-ref", "refs/banger"))
	}
	_, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	for _, name := range []string{"gone/former/2", "gone/incoming/topic/x"} {
		git(t, dir, "update-ref", "refs/banger/"+name, "HEAD")
	}
	others := []string{"refs/banger/gone/01", "refs/banger/gone/former/x", "refs/banger/gone/named", "refs/banger/Not-A-VM/1"}
	for _, ref := range others {
		git(t, dir, "update-ref", ref, "HEAD")
	}
	modules, err := r.WithModules(t.Context())
	must(t, err)
	var repos []series.Repo
	for _, m := range modules {
		repos = append(repos, m)
	}
	all, err := series.All(t.Context(), r)
	must(t, err)
	if len(all) != 2 || all[0].VM != "dev" || all[0].Snapshots != 1 || all[1].VM != "gone" || all[1].Snapshots != 11 || all[1].Others != 2 || all[1].Newest.IsZero() {
		t.Errorf("%+v", all)
	}
	unchanged(t, dir, "removing", func() {
		removed, err := series.Remove(t.Context(), "gone", repos...)
		must(t, err)
		if len(removed) != 13 || !slices.Contains(removed, "refs/banger/gone/11") {
			t.Errorf("%q", removed)
		}
	})
	for _, ref := range others {
		git(t, dir, "rev-parse", "-q", "--verify", ref)
	}
	for _, at := range []string{dir, filepath.Join(dir, "sub"), filepath.Join(dir, "sub/inner")} {
		if refs := git(t, at, "for-each-ref", "--format=%(refname)", "refs/banger/gone/1", "refs/banger/gone/11"); refs != "" {
			t.Errorf("%s has %q", at, refs)
		}
		git(t, at, "rev-parse", "-q", "--verify", "refs/banger/dev/1")
	}
	if again, err := series.Remove(t.Context(), "gone", repos...); err != nil || len(again) != 0 {
		t.Errorf("%q, %v", again, err)
	}
	_, err = series.Remove(t.Context(), "../heads", repos...)
	checkError(t, err, api.KindInvalid, "not a valid name", "")
}
