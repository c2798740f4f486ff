package repository

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
)

func TestKeysAreTheirHoldersAlone(t *testing.T) {
	fx := newFixture(t)
	entries, err := os.ReadDir(fx.keys)
	fx.must(err)
	private := 0
	for _, e := range entries {
		info, err := e.Info()
		fx.must(err)
		if strings.HasSuffix(e.Name(), ".pem") {
			private++
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
		}
	}
	if private != 6 {
		t.Errorf("there are %d private keys: %v", private, entries)
	}
	if err := Create(fx.keys, 3, 2, DefaultExpiry.Root, fx.now); api.KindOf(err) != api.KindExists {
		t.Errorf("the keys were made over: %v", err)
	}
	if err := Create(t.TempDir(), 2, 3, DefaultExpiry.Root, fx.now); api.KindOf(err) != api.KindInvalid {
		t.Errorf("three of two keys: %v", err)
	}
}

func TestPublish(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	i := fx.offered("v1.2.3")["v1.2.3"]
	if i.Commit != "0123456789ab" || i.Platform != "linux/amd64" || len(i.DowngradeFrom) != 0 {
		t.Errorf("%+v", i)
	}
	// A client that saw the first comes again.
	host := t.TempDir()
	fx.offeredTo(host, "v1.2.3")
	fx.publish("v1.3.0")
	fx.publish("v1.3.0") // twice is fine
	fx.offeredTo(host, "v1.2.3", "v1.3.0")
	// Every file of the repository can be read by a server with another user id.
	fx.must(filepath.WalkDir(fx.repository, func(path string, _ os.DirEntry, err error) error {
		fx.must(err)
		info, err := os.Stat(path)
		fx.must(err)
		if info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
}

func TestAReleaseIsNeverReplaced(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	other := fx.archives("v1.2.3")
	for name, a := range other {
		a.Data = append(a.Data, 0)
		other[name] = a
	}
	err := fx.do(func(r *Repository, k Keys) error { return r.Publish(other, nil, k) })
	if api.KindOf(err) != api.KindConflict {
		t.Errorf("published: %v", err)
	}
	fx.offered("v1.2.3")
}

func TestDowngradeIsSaidByWhoSigns(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	fx.publish("v1.3.0")
	fx.publish("v1.2.3", "v1.3.0")
	infos := fx.offered("v1.2.3", "v1.3.0")
	if !infos["v1.2.3"].MayReplace("v1.3.0") || infos["v1.2.3"].MayReplace("v1.4.0") {
		t.Errorf("%+v", infos)
	}
	err := fx.do(func(r *Repository, k Keys) error { return r.Publish(fx.archives("v1.2.3"), []string{"v1.0.0"}, k) })
	if api.KindOf(err) != api.KindInvalid {
		t.Errorf("an upgrade as a downgrade: %v", err)
	}
}

func TestWithdraw(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	fx.publish("v1.3.0")
	withdraw := func(r *Repository, k Keys) error { return r.Withdraw("v1.3.0", k) }
	fx.must(fx.do(withdraw))
	fx.offered("v1.2.3")
	files, err := filepath.Glob(filepath.Join(fx.repository, "targets", "*v1.3.0*"))
	if err != nil || len(files) != 0 {
		t.Error(files, err)
	}
	if err := fx.do(withdraw); api.KindOf(err) != api.KindNotFound {
		t.Errorf("twice: %v", err)
	}
}

func TestWhatAKeyCanDo(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	online := fx.only("timestamp-1")
	for name, do := range map[string]func(*Repository, Keys) error{
		"publish":  func(r *Repository, k Keys) error { return r.Publish(fx.archives("v9.9.9"), nil, k) },
		"withdraw": func(r *Repository, k Keys) error { return r.Withdraw("v1.2.3", k) },
		"renew":    (*Repository).Renew,
		"rotate":   rotate(Rotation{}),
	} {
		if err := fx.do(do, online); api.KindOf(err) != api.KindDenied {
			t.Errorf("%s with the online key: %v", name, err)
		}
	}
	fx.must(fx.do((*Repository).Timestamp, online))
	fx.offered("v1.2.3")
	// Releases need no root key.
	fx.must(fx.do((*Repository).Renew, fx.only("targets-1", "snapshot-1"), online))
	fx.offered("v1.2.3")
}

func TestExpiry(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	fx.now = fx.now.Add(DefaultExpiry.Timestamp + day)
	if _, err := fx.client(t.TempDir()); err == nil || !strings.Contains(err.Error(), "timestamp.json is expired") {
		t.Errorf("with an expired timestamp: %v", err)
	}
	fx.must(fx.do((*Repository).Timestamp, fx.only("timestamp-1")))
	fx.offered("v1.2.3")
	fx.now = fx.now.Add(DefaultExpiry.Snapshot)
	fx.must(fx.do((*Repository).Timestamp))
	if _, err := fx.client(t.TempDir()); err == nil || !strings.Contains(err.Error(), "snapshot.json is expired") {
		t.Errorf("with an expired snapshot: %v", err)
	}
	fx.must(fx.do((*Repository).Renew))
	fx.offered("v1.2.3")
	fx.now = fx.now.Add(DefaultExpiry.Root - DefaultExpiry.Snapshot)
	fx.must(fx.do((*Repository).Renew))
	if _, err := fx.client(t.TempDir()); err == nil || !strings.Contains(err.Error(), "root.json is expired") {
		t.Errorf("with an expired root: %v", err)
	}
	fx.must(fx.do(rotate(Rotation{})))
	fx.offered("v1.2.3")
}

// TestAnAlteredRepositoryIsNotSigned: the tool does not vouch for what the
// server's owner, or a thief, made of the files.
func TestAnAlteredRepositoryIsNotSigned(t *testing.T) {
	signed := func(m map[string]any) map[string]any { return m["signed"].(map[string]any) }
	for name, change := range map[string]func(map[string]any){
		"1.targets.json":  func(m map[string]any) { signed(m)["targets"] = map[string]any{} },
		"1.snapshot.json": func(m map[string]any) { signed(m)["version"] = 2 },
		"timestamp.json":  func(m map[string]any) { signed(m)["version"] = 1000 },
		"1.root.json":     func(m map[string]any) { m["signatures"] = m["signatures"].([]any)[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t)
			fx.publish("v1.2.3")
			fx.edit(name, change)
			if err := fx.do((*Repository).Renew); err == nil {
				t.Error("it was signed")
			}
		})
	}
}

// TestAPublicationCutShort: until the timestamp is written nobody sees a thing,
// and then the same command completes it.
func TestAPublicationCutShort(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	before, err := os.ReadFile(filepath.Join(fx.repository, "metadata", "timestamp.json"))
	fx.must(err)
	fx.publish("v1.3.0")
	fx.must(os.WriteFile(filepath.Join(fx.repository, "metadata", "timestamp.json"), before, 0o644))
	fx.offered("v1.2.3")
	fx.publish("v1.3.0")
	fx.offered("v1.2.3", "v1.3.0")
}

func TestStatus(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3", "v1.3.0")
	fx.now = fx.now.Add(DefaultExpiry.Timestamp + day)
	var out strings.Builder
	fx.must(fx.do(func(r *Repository, _ Keys) error { return r.Status(&out) }))
	for _, want := range []string{"2 of 3", fx.id("root-2")[:12], "EXPIRED", "linux/arm64", "older v1.3.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
}
