package repo

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/internal/update/repotest"
)

const platform = "linux/amd64"

// fixture is a repository with three releases, its server, and a host that has
// seen them.
type fixture struct {
	*repotest.Repo
	server *repotest.Server
	host   *Repository
	state  string
	into   string // where archives are downloaded to
	now    time.Time
}

func archiveOf(version string) []byte {
	return repotest.Archive(repotest.Programs(func(name string) []byte { return []byte(name + " " + version) })...)
}

// newRepo makes and publishes the repository.
func newRepo(t testing.TB, change ...func(*repotest.Repo)) *repotest.Repo {
	t.Helper()
	r, err := repotest.New(t.TempDir())
	check(t, err)
	for _, c := range change {
		c(r)
	}
	for _, v := range []string{"v1.9.0", "v1.10.0", "v2.0.0-rc.1"} {
		add(t, r, v, platform)
	}
	add(t, r, "v3.0.0", "linux/arm64")
	check(t, r.Publish())
	return r
}

func add(t testing.TB, r *repotest.Repo, version, platform string) {
	t.Helper()
	_, err := r.Add(repotest.Info(version, platform), archiveOf(version))
	check(t, err)
}

func newFixture(t testing.TB, change ...func(*repotest.Repo)) *fixture {
	t.Helper()
	fx := &fixture{Repo: newRepo(t, change...), state: filepath.Join(t.TempDir(), "state"), into: t.TempDir(), now: time.Now()}
	fx.server = repotest.Serve(fx.Dir)
	t.Cleanup(fx.server.Close)
	fx.host = fx.open(t, fx.server.URL)
	check(t, fx.host.Refresh(t.Context()))
	return fx
}

// open is the host's next run.
func (fx *fixture) open(t testing.TB, url string) *Repository {
	t.Helper()
	r, err := Open(Options{
		Root: fx.Root(), URL: url, Dir: fx.state, Platform: platform,
		Now: func() time.Time { return fx.now }, Stall: 10 * time.Second,
	})
	check(t, err)
	return r
}

// latest is the archive that the host would take.
func (fx *fixture) latest(t testing.TB) Target {
	t.Helper()
	latest, ok := fx.host.Latest()
	if !ok {
		t.Fatal("there is no release")
	}
	return latest
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree describes a directory with all contents, but for the files named.
func tree(t testing.TB, dir string, without ...string) string {
	t.Helper()
	var all bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, w := range without {
			if d.Name() == w {
				return nil
			}
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %q\n", strings.TrimPrefix(path, dir), data)
		return err
	})
	check(t, err)
	return all.String()
}
