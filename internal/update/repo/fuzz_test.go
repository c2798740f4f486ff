package repo

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/internal/fetch"
	"banger/internal/update/repotest"
)

// FuzzMetadata serves garbled metadata, unsigned or signed by the real keys. A
// host may refuse it, must not break on it, and takes no release that the
// targets' keys did not sign.
func FuzzMetadata(f *testing.F) {
	repo := newRepo(f, func(r *repotest.Repo) { r.Bare = true })
	handler := &repotest.Handler{Files: http.FileServer(http.Dir(repo.Dir))}
	files := []string{"2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"}
	f.Fuzz(func(t *testing.T, which uint8, signed bool, data []byte) {
		file := files[int(which)%len(files)]
		if signed {
			data = signWith(repo, file, data)
		}
		for _, name := range files[1:] {
			handler.Misbehave(name, handler.Files.ServeHTTP)
		}
		handler.Misbehave(files[0], func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
		handler.Misbehave(file, repotest.Answer(data))
		host, err := Open(Options{Root: repo.Root(), URL: "http://localhost", Dir: filepath.Join(t.TempDir(), "state"), Platform: platform, Stall: 10 * time.Second})
		check(t, err)
		host.client = fetch.New(fetch.Options{Redirect: checkRedirect, Transport: direct{handler}})
		if err := host.Refresh(t.Context()); err != nil {
			if len(host.Versions()) > 0 {
				t.Errorf("%v, and it knows %v", err, host.Versions())
			}
			return
		}
		for _, target := range host.targets {
			known := repo.Target(target.Name)
			if !(signed && file == "1.targets.json") && (known == nil || [32]byte(known.Hashes["sha256"]) != target.SHA256 || known.Length != target.Length) {
				t.Errorf("it took %+v", target)
			}
		}
	})
}

// direct asks a handler without a network, so that what runs depends on the
// input alone: the fuzzer looks at that.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, req)
	return w.Result(), nil
}

// signWith signs what the fuzzer made up, where it is metadata at all.
func signWith(repo *repotest.Repo, file string, data []byte) []byte {
	switch file {
	case "2.root.json":
		return signAs[metadata.RootType](repo, metadata.ROOT, data)
	case "timestamp.json":
		return signAs[metadata.TimestampType](repo, metadata.TIMESTAMP, data)
	case "1.snapshot.json":
		return signAs[metadata.SnapshotType](repo, metadata.SNAPSHOT, data)
	}
	return signAs[metadata.TargetsType](repo, metadata.TARGETS, data)
}

func signAs[T metadata.Roles](repo *repotest.Repo, role string, data []byte) []byte {
	m := &metadata.Metadata[T]{}
	if _, err := readSkeleton(role, data); err != nil {
		return data
	}
	if _, err := m.FromBytes(data); err != nil {
		return data
	}
	out, err := repotest.Sign(m, repo.Signers[role]...)
	if err != nil {
		return data
	}
	return out
}
