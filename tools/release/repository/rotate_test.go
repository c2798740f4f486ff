package repository

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

// TestALostRootKey: the two that are left replace it, and a host that only knows
// the first root follows.
func TestALostRootKey(t *testing.T) {
	w := newWorld(t)
	w.publish("v1.2.3")
	left := w.only("root-1", "root-2")
	dir, public, _ := w.newKey("root")
	change := Rotation{Remove: []string{w.id("root-3")[:8]}, Add: []RoleKey{{"root", public}}}
	if err := w.do(rotate(change), w.only("root-1"), dir); api.KindOf(err) != api.KindDenied {
		t.Errorf("by one of the old holders: %v", err)
	}
	if w.rootVersion() != 1 {
		t.Error("there is a new root all the same")
	}
	w.must(w.do(rotate(change), left))
	w.offered("v1.2.3")
	// The lost key counts no longer, the new one does.
	if err := w.do(rotate(Rotation{}), w.only("root-1", "root-3")); api.KindOf(err) != api.KindDenied {
		t.Errorf("with the lost key: %v", err)
	}
	w.must(w.do(rotate(Rotation{}), w.only("root-1"), dir))
	if w.rootVersion() != 3 {
		t.Errorf("root is %d", w.rootVersion())
	}
	w.offered("v1.2.3")
}

// TestAStolenKey: for each role what a thief signs is refused once the root says
// so, and hosts that saw the old go on.
func TestAStolenKey(t *testing.T) {
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			w := newWorld(t)
			w.publish("v1.2.3")
			host := t.TempDir()
			w.offeredTo(host, "v1.2.3")
			dir, public, _ := w.newKey(role)
			change := Rotation{Remove: []string{w.id(role + "-1")}, Add: []RoleKey{{role, public}}}
			if err := w.do(rotate(change)); api.KindOf(err) != api.KindDenied {
				t.Errorf("without the new key: %v", err)
			}
			if w.rootVersion() != 1 {
				t.Error("there is a new root that nothing is signed for")
			}
			w.must(w.do(rotate(change), w.keys, dir))
			w.offeredTo(host, "v1.2.3")
			w.offered("v1.2.3")
			if err := w.do((*Repository).Renew); api.KindOf(err) != api.KindDenied {
				t.Errorf("with the stolen key: %v", err)
			}
			w.must(w.do((*Repository).Renew, w.keys, dir))
			w.offeredTo(host, "v1.2.3")
		})
	}
}

// TestAThiefWhoRanAhead signed a timestamp with a number that nobody reaches, to
// keep hosts from all that follows. Once its key is replaced they go on.
func TestAThiefWhoRanAhead(t *testing.T) {
	w := newWorld(t)
	w.publish("v1.2.3")
	path := filepath.Join(w.repository, "metadata", "timestamp.json")
	ours, err := os.ReadFile(path)
	w.must(err)
	w.must(w.do(func(r *Repository, k Keys) error {
		r.timestamp.Signed.Version = 1 << 30
		return r.Timestamp(k)
	}, w.only("timestamp-1")))
	host := t.TempDir()
	w.offeredTo(host, "v1.2.3")
	w.must(os.WriteFile(path, ours, 0o644))
	if _, err := w.client(host); err == nil {
		t.Error("the host goes back to an older timestamp")
	}
	dir, public, _ := w.newKey("timestamp")
	w.must(w.do(rotate(Rotation{Remove: []string{w.id("timestamp-1")}, Add: []RoleKey{{"timestamp", public}}}), w.keys, dir))
	w.offeredTo(host, "v1.2.3")
}

// TestADraftIsSignedOnePlaceAfterTheOther, with never two root keys in one.
func TestADraftIsSignedOnePlaceAfterTheOther(t *testing.T) {
	w := newWorld(t)
	w.publish("v1.2.3")
	draft := filepath.Join(t.TempDir(), "draft.json")
	at := func(n Rotation, keys ...string) (done bool, err error) {
		err = w.do(func(r *Repository, k Keys) error {
			done, err = r.Rotate(n, k, draft)
			return err
		}, keys...)
		return done, err
	}
	change := Rotation{Threshold: map[string]int{"root": 3}}
	for i, holder := range []string{"root-1", "root-2", "root-2", "root-3"} {
		done, err := at(change, w.only(holder))
		w.must(err)
		change = Rotation{}
		if done != (i == 3) {
			t.Errorf("signed %d times, the last by %s: done is %v", i+1, holder, done)
		}
	}
	if _, err := os.Stat(draft); !os.IsNotExist(err) || w.rootVersion() != 2 {
		t.Error(w.rootVersion(), err)
	}
	w.offered("v1.2.3")
	if err := w.do(rotate(Rotation{}), w.only("root-1", "root-2")); api.KindOf(err) != api.KindDenied {
		t.Errorf("two of three: %v", err)
	}
	if _, err := at(Rotation{}, w.only("root-1")); err != nil {
		t.Fatal(err)
	}
	if _, err := at(Rotation{Threshold: map[string]int{"root": 1}}, w.only("root-2")); api.KindOf(err) != api.KindConflict {
		t.Errorf("a draft was changed under its signatures: %v", err)
	}
}

func TestRotationsThatNobodyCouldFollow(t *testing.T) {
	w := newWorld(t)
	w.publish("v1.2.3")
	for name, n := range map[string]Rotation{
		"no key left":     {Remove: []string{w.id("targets-1")}},
		"too few":         {Threshold: map[string]int{"snapshot": 2}},
		"none to sign":    {Threshold: map[string]int{"timestamp": 0}},
		"no such role":    {Threshold: map[string]int{"mirror": 1}},
		"no such key":     {Remove: []string{"0000000000"}},
		"an ambiguous id": {Remove: []string{""}},
		"no key":          {Add: []RoleKey{{"root", filepath.Join(w.keys, RootFile)}}},
		"a private key":   {Add: []RoleKey{{"root", filepath.Join(w.keys, "root-1.pem")}}},
	} {
		if err := w.do(rotate(n)); err == nil {
			t.Errorf("%s: there is a new root", name)
		}
	}
	if w.rootVersion() != 1 {
		t.Errorf("root is %d", w.rootVersion())
	}
	w.offered("v1.2.3")
}

// TestARotationCutShort: of a new root and its timestamp one is written first.
// Where the root is not reached, the timestamp is taken back.
func TestARotationCutShort(t *testing.T) {
	w := newWorld(t)
	w.publish("v1.2.3")
	dir, public, _ := w.newKey("timestamp")
	obstacle := filepath.Join(w.repository, "metadata", "2.root.json")
	err := w.do(func(r *Repository, k Keys) error {
		w.must(os.Mkdir(obstacle, 0o755))
		return rotate(Rotation{Remove: []string{w.id("timestamp-1")}, Add: []RoleKey{{"timestamp", public}}})(r, k)
	}, w.keys, dir)
	if err == nil {
		t.Fatal("the root was written over a directory")
	}
	w.must(os.Remove(obstacle))
	w.offered("v1.2.3")
	w.must(w.do((*Repository).Timestamp))
	w.offered("v1.2.3")
	w.noNext()
}

// TestARotationCutShortBehindItsRoot: the new root's timestamp is put in its place
// by whatever comes next.
func TestARotationCutShortBehindItsRoot(t *testing.T) {
	w := newWorld(t)
	w.publish("v1.2.3")
	timestamp := filepath.Join(w.repository, "metadata", "timestamp.json")
	before, err := os.ReadFile(timestamp)
	w.must(err)
	dir, public, _ := w.newKey("timestamp")
	w.must(w.do(rotate(Rotation{Remove: []string{w.id("timestamp-1")}, Add: []RoleKey{{"timestamp", public}}}), w.keys, dir))
	w.must(os.Rename(timestamp, filepath.Join(w.repository, "metadata", nextTimestamp)))
	w.must(os.WriteFile(timestamp, before, 0o644))
	w.must(w.do((*Repository).Timestamp, dir))
	w.offered("v1.2.3")
	w.noNext()
}

func (w *world) noNext() {
	w.Helper()
	if _, err := os.Stat(filepath.Join(w.repository, "metadata", nextTimestamp)); !os.IsNotExist(err) {
		w.Error("the new root's timestamp is still there:", err)
	}
}
