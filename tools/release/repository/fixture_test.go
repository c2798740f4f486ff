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

// world is a repository, its keys, and a server with a client before it.
type world struct {
	*testing.T
	keys, repository string
	root             []byte // what the client trusts
	url              string
	now              time.Time // of the one who signs
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, keys: filepath.Join(t.TempDir(), "keys"), repository: filepath.Join(t.TempDir(), "repository"), now: time.Now()}
	w.must(Create(w.keys, 3, 2, DefaultExpiry.Root, w.now))
	var err error
	w.root, err = os.ReadFile(filepath.Join(w.keys, RootFile))
	w.must(err)
	server := httptest.NewServer(http.FileServer(http.Dir(w.repository)))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// do opens the repository with the keys of directories and closes it.
func (w *world) do(what func(*Repository, Keys) error, keys ...string) error {
	w.Helper()
	if keys == nil {
		keys = []string{w.keys}
	}
	loaded, err := LoadKeys(keys...)
	w.must(err)
	r, err := Open(w.repository, Options{Root: w.root, Now: func() time.Time { return w.now }})
	if err != nil {
		return err
	}
	defer r.Close()
	return what(r, loaded)
}

// archives are those of a version, tiny.
func (w *world) archives(version string) map[string]dist.Archived {
	w.Helper()
	all := map[string]dist.Archived{}
	for _, arch := range dist.Platforms {
		var files []dist.File
		for _, name := range release.Programs {
			files = append(files, dist.File{Name: name, Mode: 0o755, Data: []byte(name + " " + version + " " + arch)})
		}
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		data, err := dist.Archive(files, at)
		w.must(err)
		all[release.Target(version, "linux", arch)] = dist.Archived{Data: data,
			Info: release.Info{Version: version, Commit: "0123456789ab", BuiltAt: at, Platform: "linux/" + arch}}
	}
	return all
}

func (w *world) publish(version string, downgradeFrom ...string) {
	w.Helper()
	w.must(w.do(func(r *Repository, k Keys) error { return r.Publish(w.archives(version), downgradeFrom, k) }))
}

// client is what a host does: it knows the first root, and what it saw before,
// which is in dir.
func (w *world) client(dir string) (*updater.Updater, error) {
	w.Helper()
	c, err := config.New(w.url+"/metadata", w.root)
	w.must(err)
	c.RemoteTargetsURL = w.url + "/targets"
	c.LocalMetadataDir, c.LocalTargetsDir = filepath.Join(dir, "metadata"), filepath.Join(dir, "targets")
	u, err := updater.New(c)
	w.must(err)
	u.UnsafeSetRefTime(w.now)
	return u, u.Refresh()
}

// offered demands that a client that knows nothing sees these archives of amd64,
// and can have them.
func (w *world) offered(versions ...string) map[string]release.Info {
	w.Helper()
	return w.offeredTo(w.TempDir(), versions...)
}

func (w *world) offeredTo(dir string, versions ...string) map[string]release.Info {
	w.Helper()
	u, err := w.client(dir)
	w.must(err)
	all := u.GetTopLevelTargets()
	if len(all) != 2*len(versions) {
		w.Errorf("%d archives are offered, not those of %v", len(all), versions)
	}
	infos := map[string]release.Info{}
	for _, v := range versions {
		name := release.Target(v, "linux", "amd64")
		target, err := u.GetTargetInfo(name)
		w.must(err)
		_, data, err := u.DownloadTarget(target, "", "")
		w.must(err)
		if string(data) != string(w.archives(v)[name].Data) {
			w.Errorf("%s is not what was published", name)
		}
		infos[v], err = info(target)
		w.must(err)
	}
	return infos
}

// edit changes metadata behind the tool's back.
func (w *world) edit(name string, change func(map[string]any)) {
	w.Helper()
	path := filepath.Join(w.repository, "metadata", name)
	data, err := os.ReadFile(path)
	w.must(err)
	var m map[string]any
	w.must(json.Unmarshal(data, &m))
	change(m)
	data, err = json.Marshal(m)
	w.must(err)
	w.must(os.WriteFile(path, data, 0o644))
}

// only makes a directory with some of the keys.
func (w *world) only(names ...string) string {
	w.Helper()
	dir := w.TempDir()
	for _, name := range names {
		for _, half := range []string{".pem", ".pub"} {
			data, err := os.ReadFile(filepath.Join(w.keys, name+half))
			w.must(err)
			w.must(os.WriteFile(filepath.Join(dir, name+half), data, 0o600))
		}
	}
	return dir
}

// newKey makes a key in a directory of its own.
func (w *world) newKey(role string) (dir, public, id string) {
	w.Helper()
	dir = w.TempDir()
	public, err := NewKey(dir, role)
	w.must(err)
	_, id, err = LoadPublic(public)
	w.must(err)
	return dir, public, id
}

func (w *world) id(name string) string {
	w.Helper()
	_, id, err := LoadPublic(filepath.Join(w.keys, name+".pub"))
	w.must(err)
	return id
}

func rotate(n Rotation) func(*Repository, Keys) error {
	return func(r *Repository, k Keys) error {
		_, err := r.Rotate(n, k, "")
		return err
	}
}

func (w *world) rootVersion() (version int64) {
	w.Helper()
	w.must(w.do(func(r *Repository, _ Keys) error {
		version = r.root.Signed.Version
		return r.root.VerifyDelegate(metadata.ROOT, r.root)
	}))
	return version
}
