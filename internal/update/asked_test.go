package update

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/update/journal"
)

// soon fails where what is done takes as long as only a question without an end does.
func soon(t *testing.T, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestADaemonThatNeverAnswersHoldsNothingUp: each question that is asked of the owner's
// daemon has an end, before an update and after it.
func TestADaemonThatNeverAnswersHoldsNothingUp(t *testing.T) {
	for _, question := range []string{"operations", "vms", "doctor"} {
		t.Run(question, func(t *testing.T) {
			w := newWorld(t)
			w.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-"+question)
			var j journal.Journal
			var err error
			soon(t, func() {
				if err = w.begin(t, good); err == nil {
					j, err = w.Apply(t.Context())
				}
			})
			said := j.Reason
			if err != nil {
				said = err.Error()
			}
			if err == nil && j.State != journal.RolledBack || !strings.Contains(said, "no answer within 50ms") {
				t.Errorf("before: %s %q, %v", j.State, said, err)
			}

			w = newWorld(t)
			if err := w.begin(t, good+" fails=hangs-"+question); err != nil {
				t.Fatal(err)
			}
			soon(t, func() { j, err = w.Apply(t.Context()) })
			if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, "no answer within 50ms") {
				t.Errorf("after: %s %q, %v", j.State, j.Reason, err)
			}
			if w.state() != before {
				t.Errorf("got  %s\nwant %s", w.state(), before)
			}
		})
	}
}

// TestTheOwnerCannotVeto: asked for with UnprovenDaemon an update is made whatever the
// owner's daemon, and what runs as the owner, does; it is said in the account.
func TestTheOwnerCannotVeto(t *testing.T) {
	for how, prepare := range map[string]func(*testing.T, *world) (program string){
		"the daemon before hangs at operations": func(t *testing.T, w *world) string {
			w.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-operations")
			return good
		},
		"the daemon before hangs at VMs": func(t *testing.T, w *world) string {
			w.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-vms")
			return good
		},
		"the daemon before lists what is not a VM": func(t *testing.T, w *world) string {
			w.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=lies")
			return good
		},
		"it is always at work": func(t *testing.T, w *world) string {
			w.put(t, "operations", `[{"id":"0123456789ab","kind":"image.pull","target":"x","status":"running"}]`)
			return good
		},
		"the new one does not start":       func(*testing.T, *world) string { return good + " fails=start" },
		"the new one says another version": func(*testing.T, *world) string { return good + " fails=version" },
		"the new one forgets guests":       func(*testing.T, *world) string { return good + " fails=guests" },
		"the new one ends again and again": func(*testing.T, *world) string { return good + " fails=crash" },
		"the new one's doctor is not well": func(*testing.T, *world) string { return good + " fails=doctor" },
		"the new one hangs at VMs":         func(*testing.T, *world) string { return good + " fails=hangs-vms" },
		"the store cannot be backed up":    func(t *testing.T, w *world) string { w.put(t, "owner-fails-backup", ""); return good },
		"what would be done to it is not said": func(_ *testing.T, w *world) string {
			w.Migrations = func(context.Context, string) (Schema, error) { return Schema{}, errors.New("the owner ended it") }
			return good
		},
		"the store is said to be too new": func(_ *testing.T, w *world) string {
			w.Migrations = func(context.Context, string) (Schema, error) { return Schema{Cannot: "it is newer"}, nil }
			return good
		},
	} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			program := prepare(t, w)
			var j journal.Journal
			soon(t, func() {
				_, err := w.plan(t, program, Options{UnprovenDaemon: true})
				if err != nil {
					t.Fatal(err)
				}
				if j, err = w.Apply(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if j.State != journal.Done || w.Current() != "v1.1.0" || w.text("helper") != "v1.1.0" || w.text("record") != "v1.1.0" {
				t.Errorf("%s %q: %s", j.State, j.Reason, w.state())
			}
			if said := strings.Join(append(j.Problems, w.said...), "\n"); !strings.Contains(said, "the owner's daemon: ") {
				t.Errorf("nothing is said of it: %s", said)
			}
			if how == "the store cannot be backed up" {
				if kept, err := w.Kept(); err != nil || kept.Backup != "" {
					t.Errorf("a copy is said to be there: %+v, %v", kept, err)
				}
			}
			w.tidy(t)
		})
	}
}

// TestNoOlderCopyIsRestored: where the owner kept the store from being copied, the way
// back leaves it alone.
func TestNoOlderCopyIsRestored(t *testing.T) {
	w := newWorld(t)
	w.put(t, "owner-fails-backup", "")
	w.put(t, "data/store.v1.0.0", "schema=1 of last year")
	if _, err := w.plan(t, good+" fails=helper", Options{UnprovenDaemon: true}); err != nil {
		t.Fatal(err)
	}
	if j, err := w.Apply(t.Context()); err != nil || j.State != journal.RolledBack {
		t.Errorf("%s %q, %v", j.State, j.Reason, err)
	}
	if got := w.text("data/store"); got != "schema=1 vms" {
		t.Errorf("the store is %q", got)
	}
}

// TestRootsSideIsProvenAllTheSame: UnprovenDaemon excuses no helper.
func TestRootsSideIsProvenAllTheSame(t *testing.T) {
	for _, how := range []string{"helper", "helper-crashes"} {
		w := newWorld(t)
		program := good + " fails=" + how
		if how == "helper-crashes" { // and the daemon's side fails too, which is excused
			w.Doctor = func(context.Context) ([]api.Check, error) { return nil, errors.New("no") }
		}
		if _, err := w.plan(t, program, Options{UnprovenDaemon: true}); err != nil {
			t.Fatal(err)
		}
		j, err := w.Apply(t.Context())
		if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, "helper ended") {
			t.Errorf("%s: %s %q, %v", how, j.State, j.Reason, err)
		}
		if w.state() != before {
			t.Errorf("%s: %s", how, w.state())
		}
	}
}

// TestTheWayOutIsSaid: to root, who alone can take it.
func TestTheWayOutIsSaid(t *testing.T) {
	const flag = "sudo banger update --unproven-daemon "
	w := newWorld(t)
	w.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-operations")
	err := w.begin(t, good)
	if hint := api.AsError(err).Hint; api.KindOf(err) != api.KindTimeout || !strings.Contains(hint, flag) {
		t.Errorf("%v: %q", err, hint)
	}
	w.System = false
	if err := w.begin(t, good); err == nil || strings.Contains(api.AsError(err).Hint, flag) {
		t.Errorf("in user mode: %v: %q", err, api.AsError(err).Hint)
	}
	w.System = true
	failed := api.Errorf(api.KindInternal, "it failed").WithHint("less log")
	for _, c := range []struct {
		j    journal.Journal
		said bool
	}{
		{journal.Journal{Reached: journal.Probing}, true}, {journal.Journal{Reached: journal.Holding}, true},
		{journal.Journal{Reached: journal.Units}, false}, {journal.Journal{Reached: journal.Probing, UnprovenDaemon: true}, false},
	} {
		hint := api.AsError(w.WayOut(c.j, failed)).Hint
		if strings.Contains(hint, flag) != c.said || !strings.HasPrefix(hint, "less log") {
			t.Errorf("%+v: %q", c.j, hint)
		}
	}
}

// TestAnInterruptedUpdateIsAcceptedLater: the owner who hinders the way back is got
// round with the same flag.
func TestAnInterruptedUpdateIsAcceptedLater(t *testing.T) {
	w := newWorld(t)
	if err := w.begin(t, good+" fails=doctor"); err != nil {
		t.Fatal(err)
	}
	w.Restore = func(context.Context, string, string) error { return errors.New("the owner ended it") }
	if _, err := w.Apply(t.Context()); err == nil {
		t.Fatal("the way back was not hindered")
	}
	if err := w.AcceptDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	j, err := w.Apply(t.Context())
	if err != nil || j.State != journal.RolledBack || w.Current() != "v1.0.0" || !w.has("helper") {
		t.Errorf("%s %q, %v: %s", j.State, j.Reason, err, w.state())
	}
}

// TestDocsSayHowToGoOn: docs/update.md names the flag and how long is waited.
func TestDocsSayHowToGoOn(t *testing.T) {
	data, err := os.ReadFile("../../docs/update.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sudo banger update " + acceptFlag, fmt.Sprintf("(%.0f seconds)", askTime.Seconds())} {
		if !strings.Contains(string(data), want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
