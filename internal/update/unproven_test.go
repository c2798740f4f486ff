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
	"banger/internal/update/programs"
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
			fx := newFixture(t)
			fx.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-"+question)
			var j journal.Journal
			var err error
			soon(t, func() {
				if err = fx.begin(t, good); err == nil {
					j, err = fx.Apply(t.Context())
				}
			})
			said := j.Reason
			if err != nil {
				said = err.Error()
			}
			if err == nil && j.State != journal.RolledBack || !strings.Contains(said, "no answer within 50ms") {
				t.Errorf("before: %s %q, %v", j.State, said, err)
			}

			fx = newFixture(t)
			if err := fx.begin(t, good+" fails=hangs-"+question); err != nil {
				t.Fatal(err)
			}
			soon(t, func() { j, err = fx.Apply(t.Context()) })
			if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, "no answer within 50ms") {
				t.Errorf("after: %s %q, %v", j.State, j.Reason, err)
			}
			if fx.state() != before {
				t.Errorf("got  %s\nwant %s", fx.state(), before)
			}
		})
	}
}

// TestTheOwnerCannotVeto: asked for with UnprovenDaemon an update is made whatever the
// owner's daemon, and what runs as the owner, does; it is said in the account.
func TestTheOwnerCannotVeto(t *testing.T) {
	for how, prepare := range map[string]func(*testing.T, *fixture) (program string){
		"the daemon before hangs at operations": func(t *testing.T, fx *fixture) string {
			fx.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-operations")
			return good
		},
		"the daemon before hangs at VMs": func(t *testing.T, fx *fixture) string {
			fx.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-vms")
			return good
		},
		"the daemon before lists what is not a VM": func(t *testing.T, fx *fixture) string {
			fx.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=lies")
			return good
		},
		"it is always at work": func(t *testing.T, fx *fixture) string {
			fx.put(t, "operations", `[{"id":"0123456789ab","kind":"image.pull","target":"x","status":"running"}]`)
			return good
		},
		"the new one does not start":       func(*testing.T, *fixture) string { return good + " fails=start" },
		"the new one says another version": func(*testing.T, *fixture) string { return good + " fails=version" },
		"the new one forgets guests":       func(*testing.T, *fixture) string { return good + " fails=guests" },
		"the new one ends again and again": func(*testing.T, *fixture) string { return good + " fails=crash" },
		"the new one's doctor is not well": func(*testing.T, *fixture) string { return good + " fails=doctor" },
		"the new one hangs at VMs":         func(*testing.T, *fixture) string { return good + " fails=hangs-vms" },
		"the store cannot be backed up":    func(t *testing.T, fx *fixture) string { fx.put(t, "owner-fails-backup", ""); return good },
		"what would be done to it is not said": func(_ *testing.T, fx *fixture) string {
			fx.Migrations = func(context.Context, string) (programs.Schema, error) {
				return programs.Schema{}, errors.New("the owner ended it")
			}
			return good
		},
		"the store is said to be too new": func(_ *testing.T, fx *fixture) string {
			fx.Migrations = func(context.Context, string) (programs.Schema, error) {
				return programs.Schema{Cannot: "it is newer"}, nil
			}
			return good
		},
	} {
		t.Run(how, func(t *testing.T) {
			fx := newFixture(t)
			program := prepare(t, fx)
			var j journal.Journal
			soon(t, func() {
				_, err := fx.plan(t, program, Options{UnprovenDaemon: true})
				if err != nil {
					t.Fatal(err)
				}
				if j, err = fx.Apply(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if j.State != journal.Done || fx.Current() != "v1.1.0" || fx.text("helper") != "v1.1.0" || fx.text("record") != "v1.1.0" {
				t.Errorf("%s %q: %s", j.State, j.Reason, fx.state())
			}
			if said := strings.Join(append(j.Problems, fx.said...), "\n"); !strings.Contains(said, "the owner's daemon: ") {
				t.Errorf("nothing is said of it: %s", said)
			}
			if how == "the store cannot be backed up" {
				if kept, err := fx.Previous(); err != nil || kept.Backup != "" {
					t.Errorf("a copy is said to be there: %+v, %v", kept, err)
				}
			}
			fx.tidy(t)
		})
	}
}

// TestNoOlderCopyIsRestored: where the owner kept the store from being copied, the way
// back leaves it alone.
func TestNoOlderCopyIsRestored(t *testing.T) {
	fx := newFixture(t)
	fx.put(t, "owner-fails-backup", "")
	fx.put(t, "data/store.v1.0.0", "schema=1 of last year")
	if _, err := fx.plan(t, good+" fails=helper", Options{UnprovenDaemon: true}); err != nil {
		t.Fatal(err)
	}
	if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.RolledBack {
		t.Errorf("%s %q, %v", j.State, j.Reason, err)
	}
	if got := fx.text("data/store"); got != "schema=1 vms" {
		t.Errorf("the store is %q", got)
	}
}

// TestRootsSideIsProvenAllTheSame: UnprovenDaemon excuses no helper.
func TestRootsSideIsProvenAllTheSame(t *testing.T) {
	for _, how := range []string{"helper", "helper-crashes"} {
		fx := newFixture(t)
		program := good + " fails=" + how
		if how == "helper-crashes" { // and the daemon's side fails too, which is excused
			fx.Doctor = func(context.Context) ([]api.Check, error) { return nil, errors.New("no") }
		}
		if _, err := fx.plan(t, program, Options{UnprovenDaemon: true}); err != nil {
			t.Fatal(err)
		}
		j, err := fx.Apply(t.Context())
		if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, "helper ended") {
			t.Errorf("%s: %s %q, %v", how, j.State, j.Reason, err)
		}
		if fx.state() != before {
			t.Errorf("%s: %s", how, fx.state())
		}
	}
}

// TestTheWayOutIsSaid: to root, who alone can take it.
func TestTheWayOutIsSaid(t *testing.T) {
	const flag = "sudo banger update --unproven-daemon "
	fx := newFixture(t)
	fx.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=hangs-operations")
	err := fx.begin(t, good)
	if hint := api.AsError(err).Hint; api.KindOf(err) != api.KindTimeout || !strings.Contains(hint, flag) {
		t.Errorf("%v: %q", err, hint)
	}
	fx.System = false
	if err := fx.begin(t, good); err == nil || strings.Contains(api.AsError(err).Hint, flag) {
		t.Errorf("in user mode: %v: %q", err, api.AsError(err).Hint)
	}
	fx.System = true
	failed := api.Errorf(api.KindInternal, "it failed").WithHint("less log")
	for _, c := range []struct {
		j    journal.Journal
		said bool
	}{
		{journal.Journal{Reached: journal.Probing}, true}, {journal.Journal{Reached: journal.Holding}, true},
		{journal.Journal{Reached: journal.Units}, false}, {journal.Journal{Reached: journal.Probing, UnprovenDaemon: true}, false},
	} {
		hint := api.AsError(fx.HintUnproven(c.j, failed)).Hint
		if strings.Contains(hint, flag) != c.said || !strings.HasPrefix(hint, "less log") {
			t.Errorf("%+v: %q", c.j, hint)
		}
	}
}

// TestAnInterruptedUpdateIsAcceptedLater: the owner who hinders the way back is got
// round with the same flag.
func TestAnInterruptedUpdateIsAcceptedLater(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good+" fails=doctor"); err != nil {
		t.Fatal(err)
	}
	fx.Restore = func(context.Context, string, string) error { return errors.New("the owner ended it") }
	if _, err := fx.Apply(t.Context()); err == nil {
		t.Fatal("the way back was not hindered")
	}
	if err := fx.AcceptDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	j, err := fx.Apply(t.Context())
	if err != nil || j.State != journal.RolledBack || fx.Current() != "v1.0.0" || !fx.has("helper") {
		t.Errorf("%s %q, %v: %s", j.State, j.Reason, err, fx.state())
	}
}

// TestDocsSayHowToGoOn: docs/update.md names the flag and how long is waited.
func TestDocsSayHowToGoOn(t *testing.T) {
	data, err := os.ReadFile("../../docs/update.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sudo banger update " + acceptFlag, fmt.Sprintf("(%.0f seconds)", askTimeout.Seconds())} {
		if !strings.Contains(string(data), want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
