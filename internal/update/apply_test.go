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
	"banger/internal/update/programs"
)

const (
	before = `commands [banger], link v1.0.0, daemon v1.0.0, helper v1.0.0, store "schema=1 vms", unit "[Unit]\nA=1\n\n[Install]\n", new "", record v1.0.0`
	after  = `commands [banger git-remote-banger], link v1.1.0, daemon v1.1.0, helper v1.1.0, store "schema=2 migrated", unit "[Unit]\nA=2\n\n[Install]\n", new "[Install]\n", record v1.1.0`
	good   = "version=v1.1.0 schema=2 unit=2 commands=banger,git-remote-banger"
)

// asUpdater makes this test's program an updater of the fixture in a directory.
const asUpdater = "BANGER_TEST_UPDATER"

func TestMain(m *testing.M) {
	if base := os.Getenv(asUpdater); base != "" {
		fx := fixtureAt(base)
		fx.Report = func(line string) { fmt.Fprintln(os.Stderr, logPrefix+line) }
		act := func() error { _, err := fx.Apply(noContext()); return err }
		if os.Getenv("RECOVER") != "" {
			act = func() error { _, err := fx.Recover(noContext()); return err }
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
	fx := newFixture(t)
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	if fx.state() != before {
		t.Errorf("what is prepared changed something:\n%s", fx.state())
	}
	j, err := fx.Apply(t.Context())
	if err != nil || j.State != journal.Done {
		t.Fatalf("%s %s, %v", j.State, j.Reason, err)
	}
	if fx.state() != after {
		t.Errorf("got  %s\nwant %s", fx.state(), after)
	}
	fx.tidy(t)
	if fx.has("prefix/versions/v0.9.0") || !fx.has("prefix/versions/v1.0.0") {
		t.Error("the version before is kept, and no other")
	}
	// The units come before anything is stopped.
	want := "reload [new.service] []\nstop daemon\nstop daemon\nstop daemon\nstart helper v1.1.0\nstart v1.1.0\n"
	if got := fx.text("calls"); got != want {
		t.Errorf("calls:\n%s", got)
	}
	if last, err := journal.Read(fx.Last()); err != nil || last.ID != j.ID || len(last.Guests) != 1 || last.Guests[0].ID != guestID {
		t.Errorf("account: %+v, %v", last, err)
	}
}

// TestTheHelperComesFirst: where the store stays as it is, the API is away for the
// daemon's restart alone.
func TestTheHelperComesFirst(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, "version=v1.1.0 schema=1"); err != nil {
		t.Fatal(err)
	}
	if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.Done {
		t.Fatal(j.Reason, err)
	}
	want := "start helper v1.1.0\nstop daemon\nstop daemon\nstart v1.1.0\n"
	if got := fx.text("calls"); got != want {
		t.Errorf("calls:\n%s", got)
	}
}

func TestWhatDoesNotProveItselfIsRolledBack(t *testing.T) {
	for how, reason := range map[string]string{
		"helper":  "the helper ended",
		"start":   "it ended with status 1",
		"crash":   "started again",
		"version": "reports version v6.6.6",
		"guests":  "VM dev is not listed any more",
		"forgets": "VM " + otherID + " is not listed any more",
		"reboots": "VM dev was rebooted",
		"exec":    "no command can be run in VM dev",
		"doctor":  "the doctor reports store",
	} {
		t.Run(how, func(t *testing.T) {
			fx := newFixture(t)
			if err := fx.begin(t, good+" fails="+how); err != nil {
				t.Fatal(err)
			}
			j, err := fx.Apply(t.Context())
			if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, reason) || len(j.Problems) > 0 {
				t.Errorf("%s: %s %v, %v", j.State, j.Reason, j.Problems, err)
			}
			if fx.state() != before {
				t.Errorf("got  %s\nwant %s", fx.state(), before)
			}
			fx.tidy(t)
			if said := strings.Join(Summary(j), "\n"); !strings.Contains(said, "rolled back to version v1.0.0") {
				t.Error(said)
			}
		})
	}
}

// TestADeletedVMIsNotMissed: what ends may be deleted while an update is proven.
func TestADeletedVMIsNotMissed(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good+" fails=forgets"); err != nil {
		t.Fatal(err)
	}
	start := fx.Start
	fx.Start = func(c ctx, dir string) error { return errors.Join(os.RemoveAll(fx.VM(otherID)), start(c, dir)) }
	if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.Done || fx.state() != after {
		t.Errorf("%s %v\n%s", j.Reason, err, fx.state())
	}
}

func TestAGuestThatDiedIsAProblem(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	fx.Exec = func(_ ctx, _ string) error { fx.put(t, "guest-died", ""); return nil }
	j, err := fx.Apply(t.Context())
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
		"refused":               {`[{"kind":"vm.start","target":"0123456789ab","status":"running"}]`, false, "starting the VM 0123456789ab"},
		"forced":                {`[{"kind":"vm.start","target":"0123456789ab","status":"running"}]`, true, ""},
		"over":                  {`[{"kind":"vm.start","target":"0123456789ab","status":"done"}]`, false, ""},
		"cannot be forced":      {`[{"kind":"image.pull","target":"debian","status":"running"}]`, true, "pulling the image debian"},
		"a kernel just as well": {`[{"kind":"kernel.pull","target":"","status":"running"}]`, true, "pulling the kernel"},
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t)
			fx.put(t, "operations", c.ops)
			_, err := fx.plan(t, good, Options{Force: c.force})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), ": "+c.want)) {
				t.Error(err)
			}
		})
	}
	t.Run("begun in the last moment", func(t *testing.T) {
		fx := newFixture(t)
		if err := fx.begin(t, good); err != nil {
			t.Fatal(err)
		}
		fx.put(t, "operations", `[{"kind":"image.pull","target":"debian","status":"running"}]`)
		j, err := fx.Apply(t.Context())
		if err != nil || j.State != journal.RolledBack || !strings.Contains(j.Reason, "pulling the image debian") {
			t.Errorf("%+v, %v", j, err)
		}
		if fx.state() != before || fx.text("calls") != "" {
			t.Errorf("something was done: %s", fx.text("calls"))
		}
		fx.tidy(t)
	})
}

func TestRefusedBeforeAnythingIsChanged(t *testing.T) {
	for name, c := range map[string]struct {
		program, want string
		kind          api.Kind
		spoil         func(fx *fixture)
	}{
		"another version":   {"version=v1.1.0 schema=1", "its program reports version v1.1.1", api.KindDenied, func(fx *fixture) { fx.Deps.Version = says("v1.1.1") }},
		"cannot migrate":    {"version=v1.1.0 schema=0", "cannot use the store", api.KindUnsupported, nil},
		"the link is other": {good, "the programs are v0.9.0", api.KindConflict, func(fx *fixture) { relinkTo(fx, "v0.9.0") }},
		"one is not over":   {good, "another one has not ended", api.KindConflict, func(fx *fixture) { fx.put(t, "state/update/journal.json", "") }},
		"one is at work": {good, "already running (pid ", api.KindConflict, func(fx *fixture) {
			unlock, err := fx.lockFor(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(unlock)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t)
			if c.spoil != nil {
				c.spoil(fx)
			}
			was := fx.state()
			err := fx.begin(t, c.program)
			if err == nil || !strings.Contains(err.Error(), c.want) || api.KindOf(err) != c.kind {
				t.Errorf("%v (%s)", err, api.KindOf(err))
			}
			if fx.state() != was || fx.has("prefix/versions/v1.1.0") {
				t.Error("something was changed")
			}
			if stages, _ := filepath.Glob(fx.Prefix + "/versions/.stage-*"); len(stages) > 0 {
				t.Errorf("left: %v", stages)
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	fx := newFixture(t)
	p, err := fx.plan(t, good, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	want := "--- UNIT\n+++ UNIT\n@@ -1,4 +1,4 @@\n [Unit]\n-A=1\n+A=2\n \n [Install]\n--- /dev/null\n+++ NEW\n@@ -0,0 +1,1 @@\n+[Install]\n"
	got := strings.NewReplacer(fx.base+"/etc/bangerd.service", "UNIT", fx.base+"/etc/new.service", "NEW").Replace(Diff(p.Files))
	if got != want || p.Schema != (programs.Schema{Have: 1, Known: 2}) || p.Begun {
		t.Errorf("%+v\n%s", p.Schema, got)
	}
	if fx.state() != before || fx.has("prefix/versions/v1.1.0") {
		t.Error("something was changed")
	}
	fx.tidy(t)
}

// updater runs an updater of its own that dies at a point, or not.
func (fx *fixture) updater(t *testing.T, point string, env ...string) error {
	t.Helper()
	fault := fx.base + "/fault"
	if err := os.WriteFile(fault, []byte(point), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), asUpdater+"="+fx.base, faultpoint.Env+"="+fault), env...)
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
				fx := newFixture(t)
				if err := fx.begin(t, program); err != nil {
					t.Fatal(err)
				}
				if fx.updater(t, point) == nil {
					t.Fatal("it was not killed")
				}
				if err := fx.updater(t, "none"); err != nil {
					t.Fatal(err)
				}
				if fx.state() != want {
					t.Errorf("got  %s\nwant %s", fx.state(), want)
				}
				fx.tidy(t)
			})
		}
	}
}

func TestKilledAgainAndAgain(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	for i := range maxAttempts {
		if fx.updater(t, "update starting after") == nil {
			t.Fatalf("run %d was not killed", i)
		}
	}
	if err := fx.updater(t, "none"); err != nil {
		t.Fatal(err)
	}
	if fx.state() != before {
		t.Errorf("got  %s\nwant %s", fx.state(), before)
	}
	fx.tidy(t)
}

// TestPowerCut: power is lost at any point, and again while that is recovered from.
func TestPowerCut(t *testing.T) {
	for _, point := range points() {
		for _, again := range []string{"none", "update recover before", "update recover after"} {
			if again != "none" && !strings.HasSuffix(point, "before") {
				continue // the same as the next one's before
			}
			t.Run(point+" "+again, func(t *testing.T) {
				fx := newFixture(t)
				program, want := good, before
				if strings.Contains(point, "rolling-back") {
					program += " fails=start"
				} else if strings.Contains(point, "committing") {
					want = after
				}
				if err := fx.begin(t, program); err != nil {
					t.Fatal(err)
				}
				if fx.updater(t, point) == nil {
					t.Fatal("it was not killed")
				}
				fx.boot(t)
				killed := fx.updater(t, again, "RECOVER=1")
				if (killed != nil) != (again != "none") {
					t.Fatalf("killed: %v", killed)
				}
				fx.boot(t)
				if err := fx.updater(t, "none", "RECOVER=1"); err != nil {
					t.Fatal(err)
				}
				if fx.text("daemon") != "" {
					t.Error("a daemon was started by what only works on files")
				}
				// The daemons are started by systemd afterwards.
				if err := errors.Join(fx.StartHelper(t.Context()), fx.start(t.Context(), fx.Dir(fx.Current()))); err != nil {
					t.Fatal(err)
				}
				if fx.state() != want {
					t.Errorf("got  %s\nwant %s", fx.state(), want)
				}
				fx.tidy(t)
			})
		}
	}
}

// boot ends all processes and makes a new boot id.
func (fx *fixture) boot(t *testing.T) {
	t.Helper()
	fx.put(t, "boot", fx.text("boot")+"+")
	if err := errors.Join(remove(fx.base+"/daemon"), remove(fx.base+"/helper")); err != nil {
		t.Fatal(err)
	}
}

func TestRecoverLeavesThisBootAlone(t *testing.T) {
	fx := newFixture(t)
	if did, err := fx.Recover(t.Context()); did || err != nil {
		t.Errorf("without an update: %v, %v", did, err)
	}
	if err := fx.begin(t, good); err != nil {
		t.Fatal(err)
	}
	if did, err := fx.Recover(t.Context()); did || err != nil || !fx.has("state/update/journal.json") {
		t.Errorf("of this boot: %v, %v", did, err)
	}
}

func TestRollback(t *testing.T) {
	update := func(t *testing.T, program string) *fixture {
		fx := newFixture(t)
		if err := fx.begin(t, program); err != nil {
			t.Fatal(err)
		}
		if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.Done {
			t.Fatal(j.Reason, err)
		}
		return fx
	}
	from := journal.Build{Version: "v1.1.0"}
	t.Run("same schema", func(t *testing.T) {
		fx := update(t, "version=v1.1.0 schema=1")
		if _, err := fx.BeginRollback(t.Context(), from, Options{}); err != nil {
			t.Fatal(err)
		}
		if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.Done || fx.state() != before {
			t.Errorf("%s %v\n%s", j.Reason, err, fx.state())
		}
		if k, err := fx.Previous(); err != nil || k.Version != "v1.1.0" {
			t.Errorf("kept: %+v, %v", k, err)
		}
	})
	t.Run("another schema", func(t *testing.T) {
		fx := update(t, "version=v1.1.0 schema=2")
		_, err := fx.BeginRollback(t.Context(), from, Options{})
		if err == nil || !strings.Contains(err.Error(), "needs the backup of the store") || !strings.Contains(api.AsError(err).Hint, "--force") {
			t.Errorf("without --force: %v", err)
		}
		vms := fx.Deps.VMs
		fx.Deps.VMs = func(c ctx) ([]api.VM, error) {
			all, err := vms(c)
			return append(all, api.VM{ID: "aaaaaaaaaaaa", Name: "fresh"}), err
		}
		_, err = fx.BeginRollback(t.Context(), from, Options{Force: true})
		if err == nil || !strings.HasSuffix(err.Error(), "created since: fresh") {
			t.Errorf("a VM would be lost: %v", err)
		}
		fx.Deps.VMs = vms
		if _, err := fx.BeginRollback(t.Context(), from, Options{Force: true}); err != nil {
			t.Fatal(err)
		}
		if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.Done || fx.state() != before {
			t.Errorf("%s %v\n%s", j.Reason, err, fx.state())
		}
	})
	t.Run("another schema, and work since", func(t *testing.T) {
		fresh := func(fx *fixture) {
			vms := fx.Deps.VMs
			fx.Deps.VMs = func(c ctx) ([]api.VM, error) {
				all, err := vms(c)
				return append(all, api.VM{ID: "aaaaaaaaaaaa", Name: "fresh"}), err
			}
		}
		creates := func(fx *fixture) {
			fx.put(t, "operations", `[{"kind":"vm.create","target":"aaaaaaaaaaaa","status":"running"}]`)
		}
		for want, begins := range map[string]func(*fixture){"created since: fresh": fresh, "unfinished: creating the VM aaaaaaaaaaaa": creates} {
			fx := update(t, "version=v1.1.0 schema=2")
			if _, err := fx.BeginRollback(t.Context(), from, Options{Force: true}); err != nil {
				t.Fatal(err)
			}
			was, calls := fx.state(), fx.text("calls")
			begins(fx) // in the last moment
			j, err := fx.Apply(t.Context())
			if err != nil || j.State != journal.RolledBack || !strings.HasSuffix(j.Reason, want) || fx.state() != was || fx.text("calls") != calls {
				t.Errorf("%s %s, %v\n%s", j.State, j.Reason, err, fx.state())
			}
			if _, err := fx.BeginRollback(t.Context(), from, Options{Force: true}); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Error(err)
			}
		}
	})
	t.Run("another schema, whose store lacks a VM", func(t *testing.T) {
		fx := update(t, "version=v1.1.0 schema=2")
		fx.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 fails=forgets")
		if _, err := fx.BeginRollback(t.Context(), from, Options{Force: true}); err != nil {
			t.Fatal(err)
		}
		was := fx.state()
		if j, err := fx.Apply(t.Context()); err != nil || !strings.HasSuffix(j.Reason, "VM "+otherID+" is not listed any more") || fx.state() != was {
			t.Errorf("%s %v\n%s", j.Reason, err, fx.state())
		}
	})
	t.Run("nothing is kept", func(t *testing.T) {
		fx := newFixture(t)
		if _, err := fx.BeginRollback(t.Context(), from, Options{}); api.KindOf(err) != api.KindNotFound {
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
	installs := func(t *testing.T, fx *fixture) {
		fx.put(t, "prefix/versions/v3.0.0/bangerd", "version=v3.0.0 schema=2")
		relinkTo(fx, "v3.0.0")
	}
	t.Run("while it is prepared", func(t *testing.T) {
		fx := newFixture(t)
		files := fx.Deps.Files
		fx.Deps.Files = func(c ctx, dir string) ([]File, error) { installs(t, fx); return files(c, dir) }
		err := fx.begin(t, good)
		if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "version v3.0.0 was installed") {
			t.Error(err)
		}
		fx.tidy(t)
	})
	t.Run("while it is proven", func(t *testing.T) {
		fx := newFixture(t)
		if err := fx.begin(t, good); err != nil {
			t.Fatal(err)
		}
		doctor := fx.Deps.Doctor
		fx.Deps.Doctor = func(c ctx) ([]api.Check, error) {
			if fx.text("daemon") == "v1.1.0" {
				installs(t, fx)
			}
			return doctor(c)
		}
		j, err := fx.Apply(t.Context())
		if err != nil || j.Made() || !strings.Contains(strings.Join(Summary(j), "\n"), "not made: version v3.0.0 was installed in the meantime") {
			t.Errorf("%+v, %v", j, err)
		}
		if fx.Current() != "v3.0.0" || !fx.has("prefix/versions/v3.0.0") || fx.text("record") != "v1.0.0" || fx.has("state/update/previous.json") {
			t.Errorf("current is %s, the record %s", fx.Current(), fx.text("record"))
		}
		fx.tidy(t)
	})
	t.Run("while older versions are removed", func(t *testing.T) {
		fx := newFixture(t)
		if err := fx.begin(t, good); err != nil {
			t.Fatal(err)
		}
		record := fx.Deps.Record
		fx.Deps.Record = func(b journal.Build) error { installs(t, fx); return record(b) }
		if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.Done {
			t.Errorf("%s %v", j.Reason, err)
		}
		if !fx.has("prefix/versions/v3.0.0") || fx.has("prefix/versions/v0.9.0") {
			t.Error("the installed version is kept, and no older one")
		}
	})
}
