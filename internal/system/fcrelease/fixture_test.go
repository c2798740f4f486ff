package fcrelease

import (
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/internal/fetch"
	"banger/internal/system/fcrelease/fctest"
)

// fixture is a store, and the release page that it gets releases from.
type fixture struct {
	*Store
	t     *testing.T
	page  *fctest.Server
	steps []string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	page := fctest.Serve()
	t.Cleanup(page.Close)
	fx := &fixture{t: t, page: page}
	fx.Store = newStore(filepath.Join(openDir(t), "firecracker"), page.URL())
	fx.Step = func(what string) { fx.steps = append(fx.steps, what) }
	fx.Client = clientOf(page, 10*time.Second)
	return fx
}

// clientOf trusts the page's certificate.
func clientOf(page *fctest.Server, stall time.Duration) *fetch.Client {
	roots := x509.NewCertPool()
	roots.AddCert(page.Certificate())
	return NewClient(fetch.Options{Roots: roots, Stall: stall})
}

func newStore(dir, source string) *Store {
	return &Store{
		Dir: dir, Source: source, Client: NewClient(fetch.Options{}), Root: os.Getuid(),
		Now:  func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
		Step: func(string) {}, Progress: func(string, int64, int64) {}, Run: Version,
	}
}

// openDir is a directory that every user can pass through, as nobody has to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fcrelease")
	check(t, err)
	check(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// with publishes and gets versions, the last of which is used then.
func (fx *fixture) with(versions ...string) *fixture {
	fx.t.Helper()
	for _, v := range versions {
		fx.page.Publish(v)
		_, err := fx.Get(fx.t.Context(), Want{})
		check(fx.t, err)
	}
	fx.page.Asked()
	return fx
}

// used is the version that the helper would find.
func (fx *fixture) used() string {
	fx.t.Helper()
	real, err := filepath.EvalSymlinks(fx.path(currentLink, "firecracker"))
	check(fx.t, err)
	return filepath.Base(filepath.Dir(real))
}

func (fx *fixture) versions() string {
	fx.t.Helper()
	entries, err := os.ReadDir(fx.path(versionsDir))
	check(fx.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// tree is all that is in a directory, with modes, targets and contents.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		}
		target, _ := os.Readlink(path)
		fmt.Fprintf(&all, "%v %s %s %q\n", info.Mode(), strings.TrimPrefix(path, dir), target, content)
		return err
	})
	check(t, err)
	return all.String()
}
