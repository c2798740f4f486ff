package repository

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"banger/internal/update/release"
	"banger/tools/release/dist"
)

// fixture is a repository, its keys, and a server with a client before it.
type fixture struct {
	*testing.T
	keys, repository string
	root             []byte // what the client trusts
	url              string
	now              time.Time // of the one who signs
}

func newFixture(t *testing.T) *fixture {
	fx := &fixture{T: t, keys: filepath.Join(t.TempDir(), "keys"), repository: filepath.Join(t.TempDir(), "repository"), now: time.Now()}
	fx.must(Create(fx.keys, 3, 2, DefaultExpiry.Root, fx.now))
	var err error
	fx.root, err = os.ReadFile(filepath.Join(fx.keys, RootFile))
	fx.must(err)
	server := httptest.NewServer(http.FileServer(http.Dir(fx.repository)))
	t.Cleanup(server.Close)
	fx.url = server.URL
	return fx
}

func (fx *fixture) must(err error) {
	fx.Helper()
	if err != nil {
		fx.Fatal(err)
	}
}

// do opens the repository with the keys of directories and closes it.
func (fx *fixture) do(what func(*Repository, Keys) error, keys ...string) error {
	fx.Helper()
	if keys == nil {
		keys = []string{fx.keys}
	}
	loaded, err := LoadKeys(keys...)
	fx.must(err)
	r, err := Open(fx.repository, Options{Root: fx.root, Now: func() time.Time { return fx.now }})
	if err != nil {
		return err
	}
	defer r.Close()
	return what(r, loaded)
}

// archives are those of a version, tiny.
func (fx *fixture) archives(version string) map[string]dist.Archived {
	fx.Helper()
	all := map[string]dist.Archived{}
	for _, arch := range dist.Platforms {
		var files []dist.File
		for _, name := range release.Programs {
			files = append(files, dist.File{Name: name, Mode: 0o755, Data: []byte(name + " " + version + " " + arch)})
		}
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		data, err := dist.Archive(files, at)
		fx.must(err)
		all[release.Target(version, "linux", arch)] = dist.Archived{Data: data,
			Info: release.Info{Version: version, Commit: "0123456789ab", BuiltAt: at, Platform: "linux/" + arch}}
	}
	return all
}

func (fx *fixture) publish(version string, downgradeFrom ...string) {
	fx.Helper()
	fx.must(fx.do(func(r *Repository, k Keys) error { return r.Publish(fx.archives(version), downgradeFrom, k) }))
}

// client is what a host does: it knows the first root, and what it saw before,
// which is in dir.
func (fx *fixture) client(dir string) (*updater.Updater, error) {
	fx.Helper()
	c, err := config.New(fx.url+"/metadata", fx.root)
	fx.must(err)
	c.RemoteTargetsURL = fx.url + "/targets"
	c.LocalMetadataDir, c.LocalTargetsDir = filepath.Join(dir, "metadata"), filepath.Join(dir, "targets")
	u, err := updater.New(c)
	fx.must(err)
	u.UnsafeSetRefTime(fx.now)
	return u, u.Refresh()
}

// offered demands that a client that knows nothing sees these archives of amd64,
// and can have them.
func (fx *fixture) offered(versions ...string) map[string]release.Info {
	fx.Helper()
	return fx.offeredTo(fx.TempDir(), versions...)
}

func (fx *fixture) offeredTo(dir string, versions ...string) map[string]release.Info {
	fx.Helper()
	u, err := fx.client(dir)
	fx.must(err)
	all := u.GetTopLevelTargets()
	if len(all) != 2*len(versions) {
		fx.Errorf("%d archives are offered, not those of %v", len(all), versions)
	}
	infos := map[string]release.Info{}
	for _, v := range versions {
		name := release.Target(v, "linux", "amd64")
		target, err := u.GetTargetInfo(name)
		fx.must(err)
		_, data, err := u.DownloadTarget(target, "", "")
		fx.must(err)
		if string(data) != string(fx.archives(v)[name].Data) {
			fx.Errorf("%s is not what was published", name)
		}
		infos[v], err = info(target)
		fx.must(err)
	}
	return infos
}

// edit changes metadata behind the tool's back.
func (fx *fixture) edit(name string, change func(map[string]any)) {
	fx.Helper()
	path := filepath.Join(fx.repository, "metadata", name)
	data, err := os.ReadFile(path)
	fx.must(err)
	var m map[string]any
	fx.must(json.Unmarshal(data, &m))
	change(m)
	data, err = json.Marshal(m)
	fx.must(err)
	fx.must(os.WriteFile(path, data, 0o644))
}

// only makes a directory with some of the keys.
func (fx *fixture) only(names ...string) string {
	fx.Helper()
	dir := fx.TempDir()
	for _, name := range names {
		for _, half := range []string{".pem", ".pub"} {
			data, err := os.ReadFile(filepath.Join(fx.keys, name+half))
			fx.must(err)
			fx.must(os.WriteFile(filepath.Join(dir, name+half), data, 0o600))
		}
	}
	return dir
}

// newKey makes a key in a directory of its own.
func (fx *fixture) newKey(role string) (dir, public, id string) {
	fx.Helper()
	dir = fx.TempDir()
	public, err := NewKey(dir, role)
	fx.must(err)
	_, id, err = LoadPublic(public)
	fx.must(err)
	return dir, public, id
}

func (fx *fixture) id(name string) string {
	fx.Helper()
	_, id, err := LoadPublic(filepath.Join(fx.keys, name+".pub"))
	fx.must(err)
	return id
}

func rotate(n Rotation) func(*Repository, Keys) error {
	return func(r *Repository, k Keys) error {
		_, err := r.Rotate(n, k, "")
		return err
	}
}

func (fx *fixture) rootVersion() (version int64) {
	fx.Helper()
	fx.must(fx.do(func(r *Repository, _ Keys) error {
		version = r.root.Signed.Version
		return r.root.VerifyDelegate(metadata.ROOT, r.root)
	}))
	return version
}
