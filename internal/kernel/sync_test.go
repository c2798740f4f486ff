package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/fsx/synctest"
	"banger/internal/paths"
	"banger/test/harness"
)

// TestFailedSyncs: whichever sync of a request fails, the request fails and nothing of it is
// left, for this daemon and the next, and what there was is as it was; or it is done.
func TestFailedSyncs(t *testing.T) {
	var dir, before string
	var c *Cache
	first := newCache(t)
	for _, k := range []string{"other", "old"} {
		_, err := importFake(t, first, k)
		must(t, err)
	}
	template := filepath.Dir(first.store.Path(""))
	agent := filepath.Join(t.TempDir(), "agent")
	must(t, os.WriteFile(agent, []byte("the agent"), 0o755))
	reopen := func(t *testing.T) *Cache {
		p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: filepath.Join(dir, "cache"), Config: dir}
		c, err := Open(p, apt.New(p.Apt()))
		must(t, err)
		return c
	}
	for name, r := range map[string]struct {
		do   func() error
		done func(c *Cache) bool
	}{
		"import": {
			func() error { _, err := importFake(t, c, "new"); return err },
			func(c *Cache) bool { _, err := c.Get("new"); return err == nil },
		},
		"another name": {
			func() error { _, err := importFake(t, c, "old"); return err },
			func(c *Cache) bool { _, err := c.Get("old"); return err == nil },
		},
		"delete": {
			func() error { return c.Delete("old", unused) },
			func(c *Cache) bool { _, err := c.Get("old"); return err != nil },
		},
		"boot": {
			func() error {
				k, err := c.Get("old")
				if err == nil {
					_, _, err = c.Boot(t.Context(), k.Digest, agent)
				}
				return err
			},
			func(*Cache) bool { return true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir = t.TempDir()
			faults := synctest.Below(t, dir)
			faults.Each(t, synctest.Errors, func(t *testing.T) {
				must(t, errors.Join(os.RemoveAll(filepath.Join(dir, "data")), harness.CopyTree(template, filepath.Join(dir, "data"))))
				c = reopen(t)
				before = synctest.Tree(t, dir, nil)
			}, r.do, func(t *testing.T, err error) {
				nothingStaged(t, c)
				for _, c := range []*Cache{c, reopen(t)} {
					if err == nil && !r.done(c) {
						t.Error("told that it is done, it is not")
					}
					if all, _ := c.List(); err != nil && len(all) != 2 {
						t.Errorf("told that it failed, there are %v", all)
					}
				}
				if err != nil && synctest.Tree(t, dir, nil) != before {
					t.Errorf("it failed with %v, and changed what there was:\n%s\nbefore:\n%s", err, synctest.Tree(t, dir, nil), before)
				}
				if err := r.do(); err != nil && (name != "delete" || api.KindOf(err) != api.KindNotFound) {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}
