package update

import (
	"errors"
	"strings"
	"testing"

	"banger/internal/update/journal"
)

const newID = "aaaaaaaaaaaa"

// killedAt is an update whose updater died at a point, and nobody took it up while a
// VM was made.
func killedAt(t *testing.T, program, point string) *fixture {
	t.Helper()
	fx := newFixture(t)
	if err := fx.begin(t, program); err != nil {
		t.Fatal(err)
	}
	if fx.updater(t, point) == nil {
		t.Fatal("it was not killed")
	}
	fx.put(t, "data/vms/"+newID+"/disk", "")
	return fx
}

// resume goes on with it in this boot, or ends it in the next one; then systemd starts
// the daemons.
func (fx *fixture) resume(t *testing.T, reboots bool) journal.Journal {
	t.Helper()
	if reboots {
		fx.boot(t)
		if _, err := fx.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(fx.StartHelper(t.Context()), fx.start(t.Context(), fx.Dir(fx.Current()))); err != nil {
			t.Fatal(err)
		}
	} else if _, err := fx.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	fx.tidy(t)
	j, err := journal.Read(fx.Last())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestVMsThatWereMadeMeanwhile: a store that does not know them is not restored.
func TestVMsThatWereMadeMeanwhile(t *testing.T) {
	const mute = good + " fails=exec" // it runs, and does not prove itself
	for _, c := range []struct {
		program, point string
		reboots, kept  bool
	}{
		{mute, "update probing before", false, true},
		{good, "update probing before", true, true},
		{good, "update starting after", true, true},
		// Before its units are put back, or after some of that.
		{mute, "update rolling-back before", false, true},
		{mute, "update rolling-back before", true, true},
		// The new version has not touched the store yet.
		{good, "update switching after", true, false},
		// The old version made them: it runs again, with its store.
		{mute, "update rolling-back after", false, false},
		{mute, "update rolling-back after", true, false},
		// The copy is made afterwards, and knows them.
		{mute, "update stopping before", false, false},
	} {
		name := strings.TrimPrefix(c.point, "update ")
		if c.reboots {
			name += " and a reboot"
		}
		t.Run(name, func(t *testing.T) {
			fx := killedAt(t, c.program, c.point)
			j := fx.resume(t, c.reboots)
			want := before
			if c.kept {
				want = after
			}
			if fx.state() != want || j.Made() != c.kept {
				t.Errorf("got  %s\nwant %s", fx.state(), want)
			}
			if said := strings.Join(Summary(j), "\n"); c.kept != strings.Contains(said, "but stays installed: rolling back would lose these VMs: "+newID) {
				t.Error(said)
			}
		})
	}
}

// TestTheStoreOfTheOldVersionIsItsOwn: where it runs again, with what it has written
// since, its store is not restored a second time.
func TestTheStoreOfTheOldVersionIsItsOwn(t *testing.T) {
	fx := killedAt(t, good+" fails=exec", "update rolling-back after")
	fx.put(t, "data/store", "schema=1 fresh")
	if j := fx.resume(t, true); j.State != journal.RolledBack || fx.text("data/store") != "schema=1 fresh" || fx.Current() != "v1.0.0" {
		t.Errorf("%s: %s", j.State, fx.state())
	}
}

// TestNoStoreOfBeforeForNewerVMs: the way back was interrupted before its store came.
func TestNoStoreOfBeforeForNewerVMs(t *testing.T) {
	for _, point := range []string{"update stopping before", "update switching before"} {
		fx := newFixture(t)
		if err := fx.begin(t, "version=v1.1.0 schema=2"); err != nil {
			t.Fatal(err)
		}
		if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.Done {
			t.Fatal(j.Reason, err)
		}
		if _, err := fx.BeginRollback(t.Context(), journal.Build{Version: "v1.1.0"}, Options{Force: true}); err != nil {
			t.Fatal(err)
		}
		was := fx.state()
		if fx.updater(t, point) == nil {
			t.Fatal("it was not killed")
		}
		fx.put(t, "data/vms/"+newID+"/disk", "")
		if j := fx.resume(t, false); j.State != journal.RolledBack || !strings.HasSuffix(j.Reason, "created in the meantime: "+newID) || fx.state() != was {
			t.Errorf("%s: %s, %s\n%s", point, j.State, j.Reason, fx.state())
		}
	}
}
