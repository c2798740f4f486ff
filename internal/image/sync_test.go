package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
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
	archive := save(t, busybox(t))
	first := open(t)
	if _, err := first.Import(t.Context(), api.ImportImage{Path: archive, Name: "old"}, silent); err != nil {
		t.Fatal(err)
	}
	template := filepath.Dir(first.records.Path(""))
	for name, r := range map[string]struct {
		do     func(c *Cache) error
		done   func(c *Cache) bool
		errors []syscall.Errno // slow ones meet one
		file   string          // that must be synced when it is whole
	}{
		"import": {
			func(c *Cache) error {
				_, err := c.Import(t.Context(), api.ImportImage{Path: archive, Name: "new"}, silent)
				return err
			},
			has("new"), synctest.Errors[:1], rootfsFile,
		},
		"commit": {
			func(c *Cache) error {
				old, err := c.Get("old")
				if err == nil {
					_, err = c.Commit(t.Context(), "new", old.Digest, "vm", silent, func(_ context.Context, to string) error {
						data, err := os.ReadFile(c.records.Path(old.Digest[len("sha256:"):], rootfsFile))
						if err != nil {
							return err
						}
						return os.WriteFile(to, data, 0o600)
					})
				}
				return err
			},
			has("new"), synctest.Errors[:1], rootfsFile,
		},
		"disk": {
			func(c *Cache) error {
				old, err := c.Get("old")
				if err == nil {
					_, err = c.Disk(t.Context(), old.Digest, 256<<20, silent)
				}
				return err
			},
			has("old"), synctest.Errors[:1], "disk",
		},
		"tag":    {func(c *Cache) error { _, err := c.Tag("old", "new"); return err }, has("new"), synctest.Errors, "names.json"},
		"delete": {func(c *Cache) error { return c.Delete("old", unused) }, func(c *Cache) bool { return !has("old")(c) }, synctest.Errors, "names.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: filepath.Join(dir, "cache"), Config: dir}
			reopen := func(t *testing.T) *Cache {
				c, err := Open(p, apt.New(p.Apt()))
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			var c *Cache
			before, ours := "", regexp.MustCompile(`sync \S+`+regexp.QuoteMeta(r.file)+`\S*: `)
			whole := false
			synctest.Below(t, dir).Each(t, r.errors, func(t *testing.T) {
				if err := errors.Join(os.RemoveAll(p.Data), harness.CopyTree(template, p.Data)); err != nil {
					t.Fatal(err)
				}
				c = reopen(t)
				before = synctest.Tree(t, p.Data, nil)
			}, func() error { return r.do(c) }, func(t *testing.T, err error) {
				whole = whole || err != nil && ours.MatchString(err.Error())
				checkClean(t, c)
				if err != nil && synctest.Tree(t, p.Data, nil) != before {
					t.Errorf("it failed with %v, and changed what there was:\n%s\nbefore:\n%s", err, synctest.Tree(t, p.Data, nil), before)
				}
				for _, c := range []*Cache{c, reopen(t)} {
					if err == nil && !r.done(c) {
						t.Error("told that it is done, it is not")
					}
					if err != nil && (!has("old")(c) || has("new")(c)) {
						t.Error("told that it failed, the names are others")
					}
				}
				if err := r.do(c); err != nil && (name != "delete" || api.KindOf(err) != api.KindNotFound) {
					t.Errorf("again: %v", err)
				}
			})
			if !whole {
				t.Errorf("%s is synced by nobody who minds", r.file)
			}
		})
	}
}

func has(name string) func(c *Cache) bool {
	return func(c *Cache) bool { _, err := c.Get(name); return err == nil }
}

// unused says of each image that no VM uses it, and noDisks that of its disks.
func unused(string) []string         { return nil }
func noDisks(string) ([]int64, bool) { return nil, true }
