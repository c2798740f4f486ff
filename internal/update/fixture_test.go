package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
	"banger/internal/installlock/hold"
	"banger/internal/update/journal"
	"banger/internal/update/programs"
	"banger/internal/update/release"
	"banger/internal/update/repo"
	"banger/internal/update/repotest"
)

// fixture is a machine below a directory. All that is to be known of it lies there,
// so that an updater can be a process of its own, and be killed. A program is a
// text that says how it behaves: "version=v1.1.0 schema=2 fails=start".
type fixture struct {
	Machine
	base string
	said []string
}

const guestID, otherID = "08cb489b65d3", "0123456789ab"

func fixtureAt(base string) *fixture {
	fx := &fixture{base: base}
	fx.Machine = Machine{
		Place: Place{
			System: true, Prefix: base + "/prefix", State: base + "/state/update", Hold: base + "/run/hold", Data: base + "/data",
			Bin: base + "/bin",
		},
		Report: func(line string) { fx.said = append(fx.said, line) },
		Deps: Deps{
			Version:    func(_ context.Context, dir string) (string, error) { return programIn(dir)["version"], nil },
			Migrations: fx.migrations,
			Files:      fx.files,
			Commands: func(_ context.Context, dir string) ([]string, error) {
				return strings.FieldsFunc(programIn(dir)["commands"], func(c rune) bool { return c == ',' }), nil
			},
			BackUp: func(_ context.Context, _, name string) error {
				if fx.has("owner-fails-backup") {
					return errors.New("the owner ended it")
				}
				fx.mustBeDown()
				return copyTo(fx.store(), fx.store()+"."+name)
			},
			Restore: func(_ context.Context, _, name string) error {
				fx.mustBeDown()
				return copyTo(fx.store()+"."+name, fx.store())
			},
			StopDaemon: func(context.Context) error { fx.call("stop daemon"); return remove(base + "/daemon") },
			StopAll: func(context.Context) error {
				fx.call("stop all")
				return errors.Join(remove(base+"/daemon"), remove(base+"/helper"))
			},
			StartHelper: func(context.Context) error {
				says := programIn(fx.Prefix + "/current")
				fx.call("start helper " + says["version"])
				if says["fails"] == "helper" {
					return errors.New("the helper ended with status 1")
				}
				return os.WriteFile(base+"/helper", []byte(says["version"]), 0o644)
			},
			Start:   fx.start,
			Reload:  func(_ context.Context, on, off []string) error { fx.call(fmt.Sprint("reload ", on, off)); return nil },
			Daemons: fx.daemons,
			Helper: func(context.Context) (string, int, error) {
				if !fx.has("helper") {
					return "", 0, errors.New("it does not run")
				}
				if fx.fails("helper-crashes") {
					n, _ := strconv.Atoi(fx.text("count"))
					_ = os.WriteFile(base+"/count", []byte(strconv.Itoa(n+1)), 0o644)
					return fx.text("helper"), n + 1, nil
				}
				return fx.text("helper"), 1, nil
			},
			Answers:    fx.answers,
			Operations: fx.operations,
			VMs:        fx.vms,
			Doctor:     fx.doctor,
			Exec: func(context.Context, string) error {
				if fx.fails("exec") {
					return errors.New("no agent")
				}
				return nil
			},
			Identify: func(pid int) (proc.Identity, error) {
				if fx.has("guest-died") {
					return proc.Identity{}, proc.ErrGone
				}
				return proc.Identity{PID: pid, StartTime: 5, BootID: "boot"}, nil
			},
			BootID: func() (string, error) { return fx.text("boot"), nil },
			Record: func(b journal.Build) error { return os.WriteFile(base+"/record", []byte(b.Version), 0o644) },
			Now:    func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
			Tick:   time.Millisecond, Patience: 50 * time.Millisecond,
		},
	}
	return fx
}

// newFixture is a machine with v1.0.0, two guests and a store.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	fx := fixtureAt(t.TempDir())
	for path, text := range map[string]string{
		"boot": "boot", "store": "", "daemon": "v1.0.0", "helper": "v1.0.0", "record": "v1.0.0",
		"data/store": "schema=1 vms", "data/vms/" + guestID + "/disk": "", "data/vms/" + otherID + "/disk": "", "etc/bangerd.service": "[Unit]\nA=1\n\n[Install]\n", "run/x": "",
		"prefix/versions/v0.9.0/bangerd": "version=v0.9.0 schema=1",
		"prefix/versions/v1.0.0/bangerd": "version=v1.0.0 schema=1",
	} {
		fx.put(t, path, text)
	}
	if err := fsx.Relink("versions/v1.0.0", fx.Prefix+"/current"); err != nil {
		t.Fatal(err)
	}
	if _, err := commands.Add(fx.Bin + "/banger"); err != nil { // of v1.0.0, which has no other
		t.Fatal(err)
	}
	return fx
}

func (fx *fixture) put(t *testing.T, path, text string) {
	t.Helper()
	full := filepath.Join(fx.base, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (fx *fixture) text(path string) string {
	data, _ := os.ReadFile(filepath.Join(fx.base, path))
	return string(data)
}

func (fx *fixture) has(path string) bool {
	_, err := os.Lstat(filepath.Join(fx.base, path))
	return err == nil
}

func (fx *fixture) store() string { return fx.base + "/data/store" }

func (fx *fixture) call(what string) {
	f, err := os.OpenFile(fx.base+"/calls", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		fmt.Fprintln(f, what)
		f.Close()
	}
}

func copyTo(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func programIn(dir string) map[string]string {
	data, _ := os.ReadFile(filepath.Join(dir, "bangerd"))
	says := map[string]string{}
	for _, word := range strings.Fields(string(data)) {
		key, value, _ := strings.Cut(word, "=")
		says[key] = value
	}
	return says
}

// running is the program of the daemon that runs.
func (fx *fixture) running() map[string]string { return programIn(fx.Dir(fx.text("daemon"))) }

func (fx *fixture) fails(how string) bool { return fx.running()["fails"] == how }

func (fx *fixture) mustBeDown() {
	if fx.has("daemon") {
		panic("the store was touched under a running daemon")
	}
}

func (fx *fixture) schema() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(strings.Fields(fx.text("data/store"))[0], "schema="))
	return n
}

func (fx *fixture) migrations(_ context.Context, dir string) (programs.Schema, error) {
	known, _ := strconv.Atoi(programIn(dir)["schema"])
	s := programs.Schema{Have: fx.schema(), Known: known}
	if s.Have > known {
		s.Cannot = "it is newer"
	}
	return s, nil
}

func (fx *fixture) files(_ context.Context, dir string) ([]File, error) {
	unit := programIn(dir)["unit"]
	if unit == "" {
		return nil, nil
	}
	return []File{{fx.base + "/etc/bangerd.service", "[Unit]\nA=" + unit + "\n\n[Install]\n"}, {fx.base + "/etc/new.service", "[Install]\n"}}, nil
}

func (fx *fixture) start(_ context.Context, dir string) error {
	fx.call("start " + filepath.Base(dir))
	says := programIn(fx.Prefix + "/current")
	if says["version"] != filepath.Base(dir) {
		return fmt.Errorf("the link points at %s", says["version"])
	}
	known, _ := strconv.Atoi(says["schema"])
	if fx.schema() > known {
		return errors.New("the store is newer")
	}
	if known > fx.schema() {
		if err := os.WriteFile(fx.store(), fmt.Appendf(nil, "schema=%d migrated", known), 0o600); err != nil {
			return err
		}
	}
	if says["fails"] == "start" {
		return errors.New("it ended with status 1")
	}
	return os.WriteFile(fx.base+"/daemon", []byte(says["version"]), 0o644)
}

func (fx *fixture) daemons(context.Context) ([]int, error) {
	if fx.fails("crash") {
		n, _ := strconv.Atoi(fx.text("count"))
		_ = os.WriteFile(fx.base+"/count", []byte(strconv.Itoa(n+1)), 0o644)
		return []int{n, 2}, nil
	}
	return []int{1, 2}, nil
}

func (fx *fixture) answers(context.Context) ([]string, error) {
	if !fx.has("daemon") || !fx.has("helper") {
		return nil, errors.New("it does not run")
	}
	if fx.fails("version") {
		return []string{"v6.6.6", "v6.6.6"}, nil
	}
	return []string{fx.text("helper"), fx.text("daemon")}, nil
}

// hang is a daemon that takes a question and never answers: "fails=hangs-" and the question.
func (fx *fixture) hang(ctx context.Context, question string) error {
	if !fx.fails("hangs-" + question) {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Second):
		return errors.New("nothing ended this question")
	}
}

func (fx *fixture) operations(ctx context.Context) ([]api.Operation, error) {
	if err := fx.hang(ctx, "operations"); err != nil {
		return nil, err
	}
	if !fx.has("daemon") {
		return nil, api.Errorf(api.KindNotFound, "the daemon is not running")
	}
	var ops []api.Operation
	_ = json.Unmarshal([]byte(fx.text("operations")), &ops)
	return ops, nil
}

func (fx *fixture) vms(ctx context.Context) ([]api.VM, error) {
	if err := fx.hang(ctx, "vms"); err != nil {
		return nil, err
	}
	if fx.fails("lies") {
		return []api.VM{{ID: "../../etc", Name: "dev", State: api.StateRunning, PID: 77}}, nil
	}
	if fx.fails("guests") {
		return nil, nil
	}
	boot := "guest-boot"
	if fx.fails("reboots") {
		boot = "another"
	}
	all := []api.VM{{ID: guestID, Name: "dev", State: api.StateRunning, PID: 77, BootID: boot}}
	if !fx.fails("forgets") {
		all = append(all, api.VM{ID: otherID, Name: "old", State: api.StateStopped})
	}
	return all, nil
}

func (fx *fixture) doctor(ctx context.Context) ([]api.Check, error) {
	if err := fx.hang(ctx, "doctor"); err != nil {
		return nil, err
	}
	checks := []api.Check{{Name: "known", Status: "fail", Found: "was so before"}}
	if fx.fails("doctor") {
		checks = append(checks, api.Check{Name: "store", Status: "fail", Found: "is odd"})
	}
	return checks, nil
}

// source is a repository of one release, whose programs are a text.
type source struct{ version, program string }

func (s source) Refresh(context.Context) error { return nil }
func (s source) Warnings() []string            { return nil }
func (s source) target() repo.Target {
	return repo.Target{Info: repotest.Info(s.version, "linux/amd64"), Name: release.Target(s.version, "linux", "amd64")}
}
func (s source) Latest() (repo.Target, bool) { return s.target(), true }
func (s source) Find(v string) (repo.Target, error) {
	if v != s.version {
		return repo.Target{}, api.Errorf(api.KindNotFound, "no such release")
	}
	return s.target(), nil
}
func (s source) Download(_ context.Context, t repo.Target, dir string, _ func(done, total int64)) (string, error) {
	path := filepath.Join(dir, t.Name)
	archive := repotest.Archive(repotest.Programs(func(string) []byte { return []byte(s.program) })...)
	return path, os.WriteFile(path, archive, 0o600)
}

// begin prepares an update to a program that behaves in some way.
func (fx *fixture) begin(t *testing.T, program string) error {
	t.Helper()
	_, err := fx.plan(t, program, Options{})
	return err
}

func (fx *fixture) plan(t *testing.T, program string, o Options) (Plan, error) {
	t.Helper()
	s := source{strings.TrimPrefix(strings.Fields(program)[0], "version="), program}
	o.Settle = 3 * time.Millisecond
	return fx.Begin(t.Context(), s, s.target(), journal.Build{Version: "v1.0.0"}, o)
}

// state is all that must be as before, or as after.
func (fx *fixture) state() string {
	var linked []string
	entries, _ := os.ReadDir(fx.Bin)
	for _, e := range entries {
		if commands.Look(filepath.Join(fx.Bin, e.Name())) == commands.Ours {
			linked = append(linked, e.Name())
		}
	}
	return fmt.Sprintf("commands %s, link %s, daemon %s, helper %s, store %q, unit %q, new %q, record %s",
		linked, fx.Current(), fx.text("daemon"), fx.text("helper"), fx.text("data/store"), fx.text("etc/bangerd.service"), fx.text("etc/new.service"), fx.text("record"))
}

// tidy fails where something of the update is left that belongs to its work.
func (fx *fixture) tidy(t *testing.T) {
	t.Helper()
	for _, path := range []string{"state/update/journal.json", "state/update/spare", "prefix/updating", "run/hold"} {
		if fx.has(path) {
			t.Errorf("%s is left", path)
		}
	}
	if stages, _ := filepath.Glob(fx.Prefix + "/versions/.stage-*"); len(stages) > 0 {
		t.Errorf("left: %v", stages)
	}
	if err := hold.Check(fx.Hold, "x"); err != nil {
		t.Error(err)
	}
}
