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
	fx := newFixture(t)
	fx.publish("v1.2.3")
	left := fx.only("root-1", "root-2")
	dir, public, _ := fx.newKey("root")
	change := Rotation{Remove: []string{fx.id("root-3")[:8]}, Add: []RoleKey{{"root", public}}}
	if err := fx.do(rotate(change), fx.only("root-1"), dir); api.KindOf(err) != api.KindDenied {
		t.Errorf("by one of the old holders: %v", err)
	}
	if fx.rootVersion() != 1 {
		t.Error("there is a new root all the same")
	}
	fx.must(fx.do(rotate(change), left))
	fx.offered("v1.2.3")
	// The lost key counts no longer, the new one does.
	if err := fx.do(rotate(Rotation{}), fx.only("root-1", "root-3")); api.KindOf(err) != api.KindDenied {
		t.Errorf("with the lost key: %v", err)
	}
	fx.must(fx.do(rotate(Rotation{}), fx.only("root-1"), dir))
	if fx.rootVersion() != 3 {
		t.Errorf("root is %d", fx.rootVersion())
	}
	fx.offered("v1.2.3")
}

// TestAStolenKey: for each role what a thief signs is refused once the root says
// so, and hosts that saw the old go on.
func TestAStolenKey(t *testing.T) {
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			fx := newFixture(t)
			fx.publish("v1.2.3")
			host := t.TempDir()
			fx.offeredTo(host, "v1.2.3")
			dir, public, _ := fx.newKey(role)
			change := Rotation{Remove: []string{fx.id(role + "-1")}, Add: []RoleKey{{role, public}}}
			if err := fx.do(rotate(change)); api.KindOf(err) != api.KindDenied {
				t.Errorf("without the new key: %v", err)
			}
			if fx.rootVersion() != 1 {
				t.Error("there is a new root that nothing is signed for")
			}
			fx.must(fx.do(rotate(change), fx.keys, dir))
			fx.offeredTo(host, "v1.2.3")
			fx.offered("v1.2.3")
			if err := fx.do((*Repository).Renew); api.KindOf(err) != api.KindDenied {
				t.Errorf("with the stolen key: %v", err)
			}
			fx.must(fx.do((*Repository).Renew, fx.keys, dir))
			fx.offeredTo(host, "v1.2.3")
		})
	}
}

// TestAThiefWhoRanAhead signed a timestamp with a number that nobody reaches, to
// keep hosts from all that follows. Once its key is replaced they go on.
func TestAThiefWhoRanAhead(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	path := filepath.Join(fx.repository, "metadata", "timestamp.json")
	ours, err := os.ReadFile(path)
	fx.must(err)
	fx.must(fx.do(func(r *Repository, k Keys) error {
		r.timestamp.Signed.Version = 1 << 30
		return r.Timestamp(k)
	}, fx.only("timestamp-1")))
	host := t.TempDir()
	fx.offeredTo(host, "v1.2.3")
	fx.must(os.WriteFile(path, ours, 0o644))
	if _, err := fx.client(host); err == nil {
		t.Error("the host goes back to an older timestamp")
	}
	dir, public, _ := fx.newKey("timestamp")
	fx.must(fx.do(rotate(Rotation{Remove: []string{fx.id("timestamp-1")}, Add: []RoleKey{{"timestamp", public}}}), fx.keys, dir))
	fx.offeredTo(host, "v1.2.3")
}

// TestADraftIsSignedOnePlaceAfterTheOther, with never two root keys in one.
func TestADraftIsSignedOnePlaceAfterTheOther(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	draft := filepath.Join(t.TempDir(), "draft.json")
	at := func(n Rotation, keys ...string) (done bool, err error) {
		err = fx.do(func(r *Repository, k Keys) error {
			done, err = r.Rotate(n, k, draft)
			return err
		}, keys...)
		return done, err
	}
	change := Rotation{Threshold: map[string]int{"root": 3}}
	for i, holder := range []string{"root-1", "root-2", "root-2", "root-3"} {
		done, err := at(change, fx.only(holder))
		fx.must(err)
		change = Rotation{}
		if done != (i == 3) {
			t.Errorf("signed %d times, the last by %s: done is %v", i+1, holder, done)
		}
	}
	if _, err := os.Stat(draft); !os.IsNotExist(err) || fx.rootVersion() != 2 {
		t.Error(fx.rootVersion(), err)
	}
	fx.offered("v1.2.3")
	if err := fx.do(rotate(Rotation{}), fx.only("root-1", "root-2")); api.KindOf(err) != api.KindDenied {
		t.Errorf("two of three: %v", err)
	}
	if _, err := at(Rotation{}, fx.only("root-1")); err != nil {
		t.Fatal(err)
	}
	if _, err := at(Rotation{Threshold: map[string]int{"root": 1}}, fx.only("root-2")); api.KindOf(err) != api.KindConflict {
		t.Errorf("a draft was changed under its signatures: %v", err)
	}
}

func TestRotationsThatNobodyCouldFollow(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	for name, n := range map[string]Rotation{
		"no key left":     {Remove: []string{fx.id("targets-1")}},
		"too few":         {Threshold: map[string]int{"snapshot": 2}},
		"none to sign":    {Threshold: map[string]int{"timestamp": 0}},
		"no such role":    {Threshold: map[string]int{"mirror": 1}},
		"no such key":     {Remove: []string{"0000000000"}},
		"an ambiguous id": {Remove: []string{""}},
		"no key":          {Add: []RoleKey{{"root", filepath.Join(fx.keys, RootFile)}}},
		"a private key":   {Add: []RoleKey{{"root", filepath.Join(fx.keys, "root-1.pem")}}},
	} {
		if err := fx.do(rotate(n)); err == nil {
			t.Errorf("%s: there is a new root", name)
		}
	}
	if fx.rootVersion() != 1 {
		t.Errorf("root is %d", fx.rootVersion())
	}
	fx.offered("v1.2.3")
}

// TestARotationCutShort: of a new root and its timestamp one is written first.
// Where the root is not reached, the timestamp is taken back.
func TestARotationCutShort(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	dir, public, _ := fx.newKey("timestamp")
	obstacle := filepath.Join(fx.repository, "metadata", "2.root.json")
	err := fx.do(func(r *Repository, k Keys) error {
		fx.must(os.Mkdir(obstacle, 0o755))
		return rotate(Rotation{Remove: []string{fx.id("timestamp-1")}, Add: []RoleKey{{"timestamp", public}}})(r, k)
	}, fx.keys, dir)
	if err == nil {
		t.Fatal("the root was written over a directory")
	}
	fx.must(os.Remove(obstacle))
	fx.offered("v1.2.3")
	fx.must(fx.do((*Repository).Timestamp))
	fx.offered("v1.2.3")
	fx.noNext()
}

// TestARotationCutShortBehindItsRoot: the new root's timestamp is put in its place
// by whatever comes next.
func TestARotationCutShortBehindItsRoot(t *testing.T) {
	fx := newFixture(t)
	fx.publish("v1.2.3")
	timestamp := filepath.Join(fx.repository, "metadata", "timestamp.json")
	before, err := os.ReadFile(timestamp)
	fx.must(err)
	dir, public, _ := fx.newKey("timestamp")
	fx.must(fx.do(rotate(Rotation{Remove: []string{fx.id("timestamp-1")}, Add: []RoleKey{{"timestamp", public}}}), fx.keys, dir))
	fx.must(os.Rename(timestamp, filepath.Join(fx.repository, "metadata", nextTimestamp)))
	fx.must(os.WriteFile(timestamp, before, 0o644))
	fx.must(fx.do((*Repository).Timestamp, dir))
	fx.offered("v1.2.3")
	fx.noNext()
}

func (fx *fixture) noNext() {
	fx.Helper()
	if _, err := os.Stat(filepath.Join(fx.repository, "metadata", nextTimestamp)); !os.IsNotExist(err) {
		fx.Error("the new root's timestamp is still there:", err)
	}
}
