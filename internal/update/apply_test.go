package update

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/update/journal"
)

const (
	before = `link v1.0.0, daemon v1.0.0, helper v1.0.0, store "schema=1 vms", unit "[Unit]\nA=1\n\n[Install]\n", new "", record v1.0.0`
	after  = `link v1.1.0, daemon v1.1.0, helper v1.1.0, store "schema=2 migrated", unit "[Unit]\nA=2\n\n[Install]\n", new "[Install]\n", record v1.1.0`
	good   = "version=v1.1.0 schema=2 unit=2"
)

// asUpdater makes this test's program an updater of the world in a directory.
const asUpdater = "BANGER_TEST_UPDATER"

func TestMain(m *testing.M) {
	if base := os.Getenv(asUpdater); base != "" {
		w := worldAt(base)
		w.Report = func(line string) { fmt.Fprintln(os.Stderr, logPrefix+line) }
		act := func() error { _, err := w.Apply(noContext()); return err }
		if os.Getenv("RECOVER") != "" {
			act = func() error { _, err := w.Recover(noContext()); return err }
		}
		if err := act(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	if err := w.begin(t, good); err != nil {
		t.Fatal(err)
	}
	if w.state() != before {
		t.Errorf("what is prepared changed something:\n%s", w.state())
	}
	j, err := w.Apply(t.Context())
	if err != nil || j.State != journal.Done {
		t.Fatalf("%s %s, %v", j.State, j.Reason, err)
	}
	if w.state() != after {
		t.Errorf("got  %s\nwant %s", w.state(), after)
	}
	w.tidy(t)
	if w.has("prefix/versions/v0.9.0") || !w.has("prefix/versions/v1.0.0") {
		t.Error("the version before is kept, and no other")
	}
	// The units come before anything is stopped.
	want := "reload [new.service] []\nstop daemon\nstop daemon\nstop daemon\nstart helper v1.1.0\nstart v1.1.0\n"
	if got := w.text("calls"); got != want {
		t.Errorf("calls:\n%s", got)
	}
	if last, err := journal.Read(w.Last()); err != nil || last.ID != j.ID || len(last.Guests) != 1 || last.Guests[0].ID != guestID {
		t.Errorf("account: %+v, %v", last, err)
	}
}

// TestTheHelperComesFirst: where the store stays as it is, the API is away for the
// daemon's restart alone.
func TestTheHelperComesFirst(t *testing.T) {
	w := newWorld(t)
	if err := w.begin(t, "version=v1.1.0 schema=1"); err != nil {
		t.Fatal(err)
	}
	if j, err := w.Apply(t.Context()); err != nil || j.State != journal.Done {
		t.Fatal(j.Reason, err)
	}
	want := "start helper v1.1.0\nstop daemon\nstop daemon\nstart v1.1.0\n"
	if got := w.text("calls"); got != want {
		t.Errorf("calls:\n%s", got)
	}
}

func TestWhatDoesNotProveItselfIsRolledBack(t *testing.T) {
	for how, reason := range map[string]string{
		"helper":  "the helper ended",
		"start":   "it ended with status 1",
		"crash":   "started again",
		"version": "says that it is version v6.6.6",
		"guests":  "VM dev is not known any more",
		"forgets": "VM " + otherID + " is not known any more",
		"reboots": "VM dev was booted anew",
		"exec":    "no command can be run in VM dev",
		"doctor":  "the doctor says store",
	} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			if err := w.begin(t, good+" fails="+how); err != nil {
				t.Fatal(err)
			}
			j, err := w.Apply(t.Context())
			if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, reason) || len(j.Problems) > 0 {
				t.Errorf("%s: %s %v, %v", j.State, j.Reason, j.Problems, err)
			}
			if w.state() != before {
				t.Errorf("got  %s\nwant %s", w.state(), before)
			}
			w.tidy(t)
			if said := strings.Join(Account(j), "\n"); !strings.Contains(said, "rolled back: banger is version v1.0.0") {
				t.Error(said)
			}
		})
	}
}

// TestADeletedVMIsNotMissed: what ends may be deleted while an update is proven.
func TestADeletedVMIsNotMissed(t *testing.T) {
	w := newWorld(t)
	if err := w.begin(t, good+" fails=forgets"); err != nil {
		t.Fatal(err)
	}
	start := w.Start
	w.Start = func(c ctx, dir string) error { return errors.Join(os.RemoveAll(w.VM(otherID)), start(c, dir)) }
	if j, err := w.Apply(t.Context()); err != nil || j.State != journal.Done || w.state() != after {
		t.Errorf("%s %v\n%s", j.Reason, err, w.state())
	}
}

func TestAGuestThatDiedIsAProblem(t *testing.T) {
	w := newWorld(t)
	if err := w.begin(t, good); err != nil {
		t.Fatal(err)
	}
	w.Exec = func(_ ctx, _ string) error { w.put(t, "guest-died", ""); return nil }
	j, err := w.Apply(t.Context())
	if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, "the process of VM dev is gone") || len(j.Problems) != 1 {
		t.Errorf("%s: %s %v, %v", j.State, j.Reason, j.Problems, err)
	}
}

func TestUnfinishedWork(t *testing.T) {
	for name, c := range map[string]struct {
		ops   string
		force bool
		want  string
	}{
		"refused":               {`[{"kind":"vm.start","target":"0123456789ab","status":"running"}]`, false, "vm.start 0123456789ab"},
		"forced":                {`[{"kind":"vm.start","target":"0123456789ab","status":"running"}]`, true, ""},
		"over":                  {`[{"kind":"vm.start","target":"0123456789ab","status":"done"}]`, false, ""},
		"cannot be forced":      {`[{"kind":"image.pull","target":"debian","status":"running"}]`, true, "image.pull debian"},
		"a kernel just as well": {`[{"kind":"kernel.pull","target":"","status":"running"}]`, true, "kernel.pull"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put(t, "operations", c.ops)
			_, err := w.plan(t, good, Options{Force: c.force})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), ": "+c.want)) {
				t.Error(err)
			}
		})
	}
	t.Run("begun in the last moment", func(t *testing.T) {
		w := newWorld(t)
		if err := w.begin(t, good); err != nil {
			t.Fatal(err)
		}
		w.put(t, "operations", `[{"kind":"image.pull","target":"debian","status":"running"}]`)
		j, err := w.Apply(t.Context())
		if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, "image.pull debian") {
			t.Errorf("%+v, %v", j, err)
		}
		if w.state() != before || w.text("calls") != "" {
			t.Errorf("something was done: %s", w.text("calls"))
		}
		w.tidy(t)
	})
}

func TestRefusedBeforeAnythingIsChanged(t *testing.T) {
	for name, c := range map[string]struct {
		program, want string
		kind          api.Kind
		spoil         func(w *world)
	}{
		"another version":   {"version=v1.1.0 schema=1", "says that it is v1.1.1", api.KindDenied, func(w *world) { w.World.Version = says("v1.1.1") }},
		"cannot migrate":    {"version=v1.1.0 schema=0", "cannot use the store", api.KindUnsupported, nil},
		"the link is other": {good, "the programs are v0.9.0", api.KindConflict, func(w *world) { relinkTo(w, "v0.9.0") }},
		"one is not over":   {good, "another one is not over", api.KindConflict, func(w *world) { w.put(t, "state/update/journal.json", "") }},
		"one is at work": {good, "at work already (pid ", api.KindConflict, func(w *world) {
			unlock, err := w.lockFor(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(unlock)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.spoil != nil {
				c.spoil(w)
			}
			was := w.state()
			err := w.begin(t, c.program)
			if err == nil || !strings.Contains(err.Error(), c.want) || api.KindOf(err) != c.kind {
				t.Errorf("%v (%s)", err, api.KindOf(err))
			}
			if w.state() != was || w.has("prefix/versions/v1.1.0") {
				t.Error("something was changed")
			}
			if stages, _ := filepath.Glob(w.Prefix + "/versions/.stage-*"); len(stages) > 0 {
				t.Errorf("left: %v", stages)
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	w := newWorld(t)
	p, err := w.plan(t, good, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	want := "--- UNIT\n+++ UNIT\n@@ -1,4 +1,4 @@\n [Unit]\n-A=1\n+A=2\n \n [Install]\n--- /dev/null\n+++ NEW\n@@ -0,0 +1,1 @@\n+[Install]\n"
	got := strings.NewReplacer(w.base+"/etc/bangerd.service", "UNIT", w.base+"/etc/new.service", "NEW").Replace(Diff(p.Files))
	if got != want || p.Schema != (Schema{Have: 1, Known: 2}) || p.Begun {
		t.Errorf("%+v\n%s", p.Schema, got)
	}
	if w.state() != before || w.has("prefix/versions/v1.1.0") {
		t.Error("something was changed")
	}
	w.tidy(t)
}

// updater runs an updater of its own that dies at a point, or not.
func (w *world) updater(t *testing.T, point string, env ...string) error {
	t.Helper()
	fault := w.base + "/fault"
	if err := os.WriteFile(fault, []byte(point), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), asUpdater+"="+w.base, faultpoint.Env+"="+fault), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		t.Fatalf("%v: %s", err, out)
	}
	return err
}

// points are all that a forward and a backward update come by.
func points() []string {
	var all []string
	for _, row := range journal.Table {
		if !row.State.Ended() {
			all = append(all, "update "+string(row.State)+" before", "update "+string(row.State)+" after")
		}
	}
	return all
}

func TestKilledAnywhere(t *testing.T) {
	for _, point := range points() {
		for program, want := range map[string]string{good: after, good + " fails=start": before} {
			if strings.Contains(point, "rolling-back") && want == after || want == before && (strings.Contains(point, "probing") || strings.Contains(point, "committing")) {
				continue // it does not come by there
			}
			t.Run(point+" "+program, func(t *testing.T) {
				w := newWorld(t)
				if err := w.begin(t, program); err != nil {
					t.Fatal(err)
				}
				if w.updater(t, point) == nil {
					t.Fatal("it was not killed")
				}
				if err := w.updater(t, "none"); err != nil {
					t.Fatal(err)
				}
				if w.state() != want {
					t.Errorf("got  %s\nwant %s", w.state(), want)
				}
				w.tidy(t)
			})
		}
	}
}

func TestKilledAgainAndAgain(t *testing.T) {
	w := newWorld(t)
	if err := w.begin(t, good); err != nil {
		t.Fatal(err)
	}
	for i := range maxAttempts {
		if w.updater(t, "update starting after") == nil {
			t.Fatalf("run %d was not killed", i)
		}
	}
	if err := w.updater(t, "none"); err != nil {
		t.Fatal(err)
	}
	if w.state() != before {
		t.Errorf("got  %s\nwant %s", w.state(), before)
	}
	w.tidy(t)
}

// TestPowerCut: power is lost at any point, and again while that is recovered from.
func TestPowerCut(t *testing.T) {
	for _, point := range points() {
		for _, again := range []string{"none", "update recover before", "update recover after"} {
			if again != "none" && !strings.HasSuffix(point, "before") {
				continue // the same as the next one's before
			}
			t.Run(point+" "+again, func(t *testing.T) {
				w := newWorld(t)
				program, want := good, before
				if strings.Contains(point, "rolling-back") {
					program += " fails=start"
				} else if strings.Contains(point, "committing") {
					want = after
				}
				if err := w.begin(t, program); err != nil {
					t.Fatal(err)
				}
				if w.updater(t, point) == nil {
					t.Fatal("it was not killed")
				}
				w.boot(t)
				killed := w.updater(t, again, "RECOVER=1")
				if (killed != nil) != (again != "none") {
					t.Fatalf("killed: %v", killed)
				}
				w.boot(t)
				if err := w.updater(t, "none", "RECOVER=1"); err != nil {
					t.Fatal(err)
				}
				if w.text("daemon") != "" {
					t.Error("a daemon was started by what only works on files")
				}
				// The daemons are started by systemd afterwards.
				if err := errors.Join(w.StartHelper(t.Context()), w.start(t.Context(), w.Dir(w.Current()))); err != nil {
					t.Fatal(err)
				}
				if w.state() != want {
					t.Errorf("got  %s\nwant %s", w.state(), want)
				}
				w.tidy(t)
			})
		}
	}
}

// boot ends all processes and makes a new boot id.
func (w *world) boot(t *testing.T) {
	t.Helper()
	w.put(t, "boot", w.text("boot")+"+")
	if err := errors.Join(remove(w.base+"/daemon"), remove(w.base+"/helper")); err != nil {
		t.Fatal(err)
	}
}

func TestRecoverLeavesThisBootAlone(t *testing.T) {
	w := newWorld(t)
	if did, err := w.Recover(t.Context()); did || err != nil {
		t.Errorf("without an update: %v, %v", did, err)
	}
	if err := w.begin(t, good); err != nil {
		t.Fatal(err)
	}
	if did, err := w.Recover(t.Context()); did || err != nil || !w.has("state/update/journal.json") {
		t.Errorf("of this boot: %v, %v", did, err)
	}
}

func TestRollback(t *testing.T) {
	update := func(t *testing.T, program string) *world {
		w := newWorld(t)
		if err := w.begin(t, program); err != nil {
			t.Fatal(err)
		}
		if j, err := w.Apply(t.Context()); err != nil || j.State != journal.Done {
			t.Fatal(j.Reason, err)
		}
		return w
	}
	from := journal.Build{Version: "v1.1.0"}
	t.Run("same schema", func(t *testing.T) {
		w := update(t, "version=v1.1.0 schema=1")
		if _, err := w.BeginBack(t.Context(), from, Options{}); err != nil {
			t.Fatal(err)
		}
		if j, err := w.Apply(t.Context()); err != nil || j.State != journal.Done || w.state() != before {
			t.Errorf("%s %v\n%s", j.Reason, err, w.state())
		}
		if k, err := w.Kept(); err != nil || k.Version != "v1.1.0" {
			t.Errorf("kept: %+v, %v", k, err)
		}
	})
	t.Run("another schema", func(t *testing.T) {
		w := update(t, "version=v1.1.0 schema=2")
		_, err := w.BeginBack(t.Context(), from, Options{})
		if err == nil || !strings.Contains(err.Error(), "needs the store of before the update") || !strings.Contains(api.AsError(err).Hint, "--force") {
			t.Errorf("without --force: %v", err)
		}
		vms := w.World.VMs
		w.World.VMs = func(c ctx) ([]api.VM, error) {
			all, err := vms(c)
			return append(all, api.VM{ID: "aaaaaaaaaaaa", Name: "fresh"}), err
		}
		_, err = w.BeginBack(t.Context(), from, Options{Force: true})
		if err == nil || !strings.HasSuffix(err.Error(), "made since: fresh") {
			t.Errorf("a VM would be lost: %v", err)
		}
		w.World.VMs = vms
		if _, err := w.BeginBack(t.Context(), from, Options{Force: true}); err != nil {
			t.Fatal(err)
		}
		if j, err := w.Apply(t.Context()); err != nil || j.State != journal.Done || w.state() != before {
			t.Errorf("%s %v\n%s", j.Reason, err, w.state())
		}
	})
	t.Run("another schema, and work since", func(t *testing.T) {
		fresh := func(w *world) {
			vms := w.World.VMs
			w.World.VMs = func(c ctx) ([]api.VM, error) {
				all, err := vms(c)
				return append(all, api.VM{ID: "aaaaaaaaaaaa", Name: "fresh"}), err
			}
		}
		creates := func(w *world) {
			w.put(t, "operations", `[{"kind":"vm.create","target":"aaaaaaaaaaaa","status":"running"}]`)
		}
		for want, begins := range map[string]func(*world){"made since: fresh": fresh, "unfinished: vm.create aaaaaaaaaaaa": creates} {
			w := update(t, "version=v1.1.0 schema=2")
			if _, err := w.BeginBack(t.Context(), from, Options{Force: true}); err != nil {
				t.Fatal(err)
			}
			was, calls := w.state(), w.text("calls")
			begins(w) // in the last moment
			j, err := w.Apply(t.Context())
			if err != nil || j.State != journal.RolledBack || !strings.HasSuffix(j.Reason, want) || w.state() != was || w.text("calls") != calls {
				t.Errorf("%s %s, %v\n%s", j.State, j.Reason, err, w.state())
			}
			if _, err := w.BeginBack(t.Context(), from, Options{Force: true}); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Error(err)
			}
		}
	})
	t.Run("another schema, whose store lacks a VM", func(t *testing.T) {
		w := update(t, "version=v1.1.0 schema=2")
		w.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=forgets")
		if _, err := w.BeginBack(t.Context(), from, Options{Force: true}); err != nil {
			t.Fatal(err)
		}
		was := w.state()
		if j, err := w.Apply(t.Context()); err != nil || !strings.HasSuffix(j.Reason, "VM "+otherID+" is not known any more") || w.state() != was {
			t.Errorf("%s %v\n%s", j.Reason, err, w.state())
		}
	})
	t.Run("nothing is kept", func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.BeginBack(t.Context(), from, Options{}); api.KindOf(err) != api.KindNotFound {
			t.Error(err)
		}
	})
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		offered, installed, to string
		available              bool
		kind                   api.Kind
	}{
		"newer":               {"v1.1.0", "v1.0.0", "", true, ""},
		"the same":            {"v1.0.0", "v1.0.0", "", false, ""},
		"older":               {"v0.9.0", "v1.0.0", "", false, ""},
		"a development build": {"v1.0.0", "9cf67c0", "", true, ""},
		"by name":             {"v1.1.0", "v1.0.0", "v1.1.0", true, ""},
		"back by name":        {"v0.9.0", "v1.0.0", "v0.9.0", false, api.KindDenied},
		"no version":          {"v1.1.0", "v1.0.0", "../x", false, api.KindInvalid},
		"no such release":     {"v1.1.0", "v1.0.0", "v3.0.0", false, api.KindNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, available, err := Find(t.Context(), source{version: c.offered}, journal.Build{Version: c.installed}, c.to, func(string) {})
			if available != c.available || api.KindOf(err) != c.kind {
				t.Errorf("%v, %v", available, err)
			}
		})
	}
}

// TestAnotherInstallationMeanwhile: by hand, or by a script that knows of no lock. The
// update neither takes it back nor removes it.
func TestAnotherInstallationMeanwhile(t *testing.T) {
	installs := func(t *testing.T, w *world) {
		w.put(t, "prefix/versions/v3.0.0/bangerd", "version=v3.0.0 schema=2")
		relinkTo(w, "v3.0.0")
	}
	t.Run("while it is prepared", func(t *testing.T) {
		w := newWorld(t)
		files := w.World.Files
		w.World.Files = func(c ctx, dir string) ([]File, error) { installs(t, w); return files(c, dir) }
		err := w.begin(t, good)
		if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "version v3.0.0 was installed") {
			t.Error(err)
		}
		w.tidy(t)
	})
	t.Run("while it is proven", func(t *testing.T) {
		w := newWorld(t)
		if err := w.begin(t, good); err != nil {
			t.Fatal(err)
		}
		doctor := w.World.Doctor
		w.World.Doctor = func(c ctx) ([]api.Check, error) {
			if w.text("daemon") == "v1.1.0" {
				installs(t, w)
			}
			return doctor(c)
		}
		j, err := w.Apply(t.Context())
		if err != nil || j.Made() || !strings.Contains(strings.Join(Account(j), "\n"), "not made: meanwhile version v3.0.0 was installed") {
			t.Errorf("%+v, %v", j, err)
		}
		if w.Current() != "v3.0.0" || !w.has("prefix/versions/v3.0.0") || w.text("record") != "v1.0.0" || w.has("state/update/previous.json") {
			t.Errorf("current is %s, the record %s", w.Current(), w.text("record"))
		}
		w.tidy(t)
	})
	t.Run("while older versions are removed", func(t *testing.T) {
		w := newWorld(t)
		if err := w.begin(t, good); err != nil {
			t.Fatal(err)
		}
		record := w.World.Record
		w.World.Record = func(b journal.Build) error { installs(t, w); return record(b) }
		if j, err := w.Apply(t.Context()); err != nil || j.State != journal.Done {
			t.Errorf("%s %v", j.Reason, err)
		}
		if !w.has("prefix/versions/v3.0.0") || w.has("prefix/versions/v0.9.0") {
			t.Error("the installed version is kept, and no older one")
		}
	})
}
