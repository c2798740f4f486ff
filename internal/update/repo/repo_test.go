package repo

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/update/repotest"
)

func TestVersions(t *testing.T) {
	fx := newFixture(t)
	if got := fx.host.Versions(); !slices.Equal(got, []string{"v2.0.0-rc.1", "v1.10.0", "v1.9.0"}) {
		t.Errorf("the versions are %v", got)
	}
	if latest := fx.latest(t); latest.Version != "v1.10.0" || latest.Name != latestName || latest.Commit != "0123456789ab" {
		t.Errorf("the latest is %+v", latest)
	}
	if pre, err := fx.host.Find("v2.0.0-rc.1"); err != nil || pre.Version != "v2.0.0-rc.1" {
		t.Errorf("%+v, %v", pre, err)
	}
	_, err := fx.host.Find("v3.0.0") // which is there for arm64
	if api.KindOf(err) != api.KindNotFound || !strings.Contains(api.AsError(err).Hint, "v2.0.0-rc.1, v1.10.0, v1.9.0") {
		t.Errorf("%v, %v", err, api.AsError(err).Hint)
	}
}

func TestDownload(t *testing.T) {
	fx := newFixture(t)
	fx.server.Handler.Misbehave("/timestamp.json", func(rw http.ResponseWriter, req *http.Request) {
		http.Redirect(rw, req, "/metadata/1.timestamp.json", http.StatusFound) // to the same host
	})
	check(t, fx.host.Refresh(t.Context()))
	var done, total int64
	path, err := fx.host.Download(t.Context(), fx.latest(t), fx.into, func(d, all int64) { done, total = d, all })
	check(t, err)
	got, err := os.ReadFile(path)
	check(t, err)
	if path != filepath.Join(fx.into, latestName) || !bytes.Equal(got, archiveOf("v1.10.0")) {
		t.Errorf("%s has %d bytes", path, len(got))
	}
	if done != int64(len(got)) || total != done {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	// What is there is somebody's: it is neither followed nor overwritten.
	if _, err := fx.host.Download(t.Context(), fx.latest(t), fx.into, nil); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	if again, _ := os.ReadFile(path); !bytes.Equal(again, got) {
		t.Error("the file was changed")
	}
}

func TestNoSecondFetch(t *testing.T) {
	fx := newFixture(t)
	for _, file := range []string{"1.snapshot.json", "1.targets.json"} {
		fx.server.Handler.Misbehave(file, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	}
	fx.host = fx.open(t, fx.server.URL)
	check(t, fx.host.Refresh(t.Context()))
	fx.latest(t)
}

func TestURLs(t *testing.T) {
	r := newRepo(t)
	for url, want := range map[string]string{
		"https://example.com/banger": "", "http://127.0.0.1:80/x": "", "http://[::1]/x": "", "http://localhost:8080": "",
		"http://example.com/banger": "plain http is allowed to this machine only", "http://10.0.0.1": "this machine only",
		"http://localhost.example.com": "this machine only", "http://127.0.0.1.example.com": "this machine only",
		"ftp://127.0.0.1/": "it does not start with https or http", "file:///etc": "it is not a valid URL", "/srv/repo": "it is not a valid URL", "": "it is not a valid URL", "https:x": "it is not a valid URL",
		"https://me:secret@example.com": "not supported", "https://example.com/?a=b": "not supported", "https://example.com/#x": "not supported",
	} {
		_, err := Open(Options{Root: r.Root(), URL: url, Dir: filepath.Join(t.TempDir(), "state"), Platform: platform})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || api.KindOf(err) != api.KindInvalid) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestTrustedRoot(t *testing.T) {
	r := newRepo(t)
	one, err := metadata.Root().FromBytes(r.Root())
	check(t, err)
	below, err := repotest.Sign(one, r.Signers[metadata.ROOT][0])
	check(t, err)
	timestamp, err := os.ReadFile(r.Metadata("timestamp.json"))
	check(t, err)
	for name, root := range map[string][]byte{"nothing": nil, "no JSON": []byte("x"), "null": []byte("null"), "another role": timestamp, "below threshold": below} {
		dir := filepath.Join(t.TempDir(), "state")
		_, err := Open(Options{Root: root, URL: "https://example.com", Dir: dir, Platform: platform})
		if err == nil || !strings.Contains(err.Error(), "cannot use the trusted root: ") || api.AsError(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the directory was made", name)
		}
	}
}

func TestDirectory(t *testing.T) {
	fx := newFixture(t)
	if info, err := os.Stat(fx.state); err != nil || info.Mode() != 0o700|os.ModeDir {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	open := func(dir string) error {
		_, err := Open(Options{Root: fx.Root(), URL: fx.server.URL, Dir: dir, Platform: platform})
		return err
	}
	check(t, os.Chmod(fx.state, 0o770))
	if err := open(fx.state); api.KindOf(err) != api.KindDenied {
		t.Error(err)
	}
	check(t, os.Chmod(fx.state, 0o700))
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(fx.state, link))
	if err := open(link); api.KindOf(err) != api.KindDenied {
		t.Error(err)
	}
}

// TestDamagedState: what is wrong with the directory's files never stops a
// refresh, and is said.
func TestDamagedState(t *testing.T) {
	damages := map[string]func(path string) error{
		"garbage": func(p string) error { return os.WriteFile(p, []byte("\x00garbage"), 0o600) },
		"empty":   func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"null": func(p string) error {
			return os.WriteFile(p, []byte(`{"signed":{"version":1,"keys":{"x":null}}}`), 0o600)
		},
		"cut off":  func(p string) error { return os.Truncate(p, 100) },
		"too long": func(p string) error { return os.Truncate(p, 6<<20) },
		"a directory": func(p string) error {
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o700))
		},
		"a link": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/hostname", p)) },
		"a FIFO": func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) },
	}
	for name, damage := range damages {
		for _, file := range []string{"2.root.json", "timestamp.json", "snapshot.json", "targets.json"} {
			t.Run(file+" is "+name, func(t *testing.T) {
				fx := newFixture(t)
				check(t, fx.PublishRoot())
				check(t, fx.host.Refresh(t.Context()))
				known := fx.host.Versions()
				check(t, damage(filepath.Join(fx.state, file)))
				fx.host = fx.open(t, fx.server.URL)
				err := fx.host.Refresh(t.Context())
				if name == "a directory" { // which cannot be replaced by a file
					if err == nil || !strings.Contains(err.Error(), "cannot store the repository's "+file) {
						t.Error(err)
					}
					return
				}
				check(t, err)
				if !slices.Equal(fx.host.Versions(), known) {
					t.Errorf("%v", fx.host.Versions())
				}
				if got := fx.host.Warnings(); len(got) != 1 || !strings.HasPrefix(got[0], file+" in "+fx.state+" was ignored: ") {
					t.Errorf("the warnings are %q", got)
				}
				check(t, fx.host.Refresh(t.Context()))
				if got := fx.host.Warnings(); len(got) != 0 {
					t.Errorf("it was not repaired: %q", got)
				}
			})
		}
	}
}

// TestForgedState: a kept snapshot that is signed, and not the one that the
// timestamp names, is replaced.
func TestForgedState(t *testing.T) {
	fx := newFixture(t)
	genuine, err := os.ReadFile(fx.Metadata("1.snapshot.json"))
	check(t, err)
	forgeSnapshot(t, fx, 1, 1)
	check(t, os.Rename(fx.Metadata("1.snapshot.json"), filepath.Join(fx.state, "snapshot.json")))
	check(t, os.WriteFile(fx.Metadata("1.snapshot.json"), genuine, 0o644))
	check(t, fx.host.Refresh(t.Context()))
	if got, err := os.ReadFile(filepath.Join(fx.state, "snapshot.json")); err != nil || !bytes.Equal(got, genuine) {
		t.Errorf("%s, %v", got, err)
	}
}

// TestRotation: keys are replaced, and the ones that were revoked are worth
// nothing any more, even if the server hides the new root again.
func TestRotation(t *testing.T) {
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		t.Run(role, func(t *testing.T) {
			fx := newFixture(t)
			stolen := fx.Signers[role]
			check(t, fx.NewKeys(role))
			check(t, fx.PublishRoot())
			fx.publish(t)
			check(t, fx.host.Refresh(t.Context()))
			if got := fx.latest(t).Version; got != "v1.11.0" {
				t.Errorf("the latest is %s", got)
			}
			if got := fx.host.Warnings(); len(got) != 0 {
				t.Errorf("it warns: %q", got)
			}
			check(t, os.Rename(fx.Metadata("2.root.json"), fx.Metadata("hidden.root.json")))
			fx.Signers[role] = stolen
			fx.publish(t)
			if role == metadata.ROOT {
				root, err := (&metadata.Metadata[metadata.RootType]{}).FromFile(fx.Metadata("hidden.root.json"))
				check(t, err)
				root.Signed.Version = 3
				forge(t, fx, role, "3.root.json", root)
			}
			fx.host = fx.open(t, fx.server.URL)
			if err := fx.host.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), role+".json: it ") {
				t.Errorf("the revoked keys were taken: %v", err)
			}
		})
	}
}

// TestFastForward: who stole the timestamp's key and counted far ahead is undone
// by new keys (TUF specification, 5.3.11).
func TestFastForward(t *testing.T) {
	fx := newFixture(t)
	forgeTimestamp(t, fx, 1<<40, 1)
	check(t, fx.host.Refresh(t.Context()))
	fx.publish(t)
	if err := fx.host.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "and this host has seen version 1099511627776") {
		t.Fatal(err)
	}
	check(t, fx.NewKeys(metadata.TIMESTAMP))
	check(t, fx.PublishRoot())
	fx.publish(t)
	check(t, fx.host.Refresh(t.Context()))
	if got := fx.latest(t).Version; got != "v1.11.0" {
		t.Errorf("the latest is %s", got)
	}
}

// TestTwoAtOnce: of two refreshes one is refused, or both come one after the
// other; the directory holds what one of them wrote.
func TestTwoAtOnce(t *testing.T) {
	fx := newFixture(t)
	unlock, err := lockDir(fx.state)
	check(t, err)
	if err := fx.host.Refresh(t.Context()); api.KindOf(err) != api.KindConflict {
		t.Errorf("%v (%s)", err, api.KindOf(err))
	}
	unlock()
	fx.publish(t)
	var all sync.WaitGroup
	var worked sync.Map
	for i := range 8 {
		host := fx.open(t, fx.server.URL)
		all.Go(func() {
			err := host.Refresh(t.Context())
			if err == nil {
				worked.Store(i, true)
			} else if api.KindOf(err) != api.KindConflict {
				t.Error(err)
			}
		})
	}
	all.Wait()
	count := 0
	worked.Range(func(any, any) bool { count++; return true })
	if count == 0 {
		t.Error("all were refused")
	}
	fx.host = fx.open(t, fx.server.URL)
	check(t, fx.host.Refresh(t.Context()))
	if got := fx.host.Warnings(); len(got) != 0 || fx.latest(t).Version != "v1.11.0" {
		t.Errorf("%q, %s", got, fx.latest(t).Version)
	}
}
