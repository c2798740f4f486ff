package system

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/golden"
	"banger/internal/host/network"
	"banger/internal/installlock"
	"banger/internal/paths"
)

func TestInstall(t *testing.T) {
	fx := newFixture(t)
	r, err := fx.Install(t.Context(), fx.options(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if r.UID != 1000 || r.UIDBase != 1_900_000_000 || r.IPForwardBefore != "0" {
		t.Errorf("%+v", r)
	}
	golden.Check(t, "installed.txt", fx.tree())
	golden.Check(t, "calls.txt", strings.Join(fx.calls, "\n")+"\n")
	if got := fx.read(current + "/bangerd"); got != "program bangerd" {
		t.Error(got)
	}
	if got := fx.read(paths.Commands + "/banger"); got != "program banger" {
		t.Error("the command leads elsewhere:", got)
	}
	again, err := fx.Record()
	if diff := cmp.Diff(r, again); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// TestInstallSaysThatTheMachineForwards: it is a router then, for more than VMs.
func TestInstallSaysThatTheMachineForwards(t *testing.T) {
	for value, want := range map[string]int{"0\n": 1, "1\n": 0} {
		fx := newFixture(t)
		fx.write(ipForwardFile, value, 0o644)
		said := 0
		if _, err := fx.Install(t.Context(), fx.options(), func(line string) {
			if strings.Contains(line, "net.ipv4.ip_forward") {
				said++
			}
		}); err != nil {
			t.Fatal(err)
		}
		if said != want {
			t.Errorf("where it is %q it is said %d times, want %d", value, said, want)
		}
	}
}

func TestUnitsAreGolden(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	for _, name := range unitNames {
		golden.Check(t, name, fx.read(filepath.Join(unitDir, name)))
	}
}

// TestNetwork: VMs get the addresses that package network means by default, and
// there are enough of them.
func TestNetwork(t *testing.T) {
	if defaultNetwork != network.DefaultOuter.String() {
		t.Error(defaultNetwork, "is not", network.DefaultOuter)
	}
}

func TestUdevRules(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "59-banger.rules", fx.read(udevFile))
	// Nobody else's are removed, or overwritten.
	fx.write(udevFile, "# mine", 0o644)
	if err := fx.install(); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), udevFile) {
		t.Error(err)
	}
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{}, func(string) {}); err != nil || fx.read(udevFile) != "# mine" {
		t.Error(err)
	}
	// A machine without udev gets none.
	fx = newFixture(t)
	if err := os.RemoveAll(fx.path("/etc/udev")); err != nil {
		t.Fatal(err)
	}
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(fx.path("/etc/udev")); err == nil {
		t.Error("rules for no udev")
	}
}

// TestInstallAgain: a refresh changes programs and units, and keeps what VMs
// depend on.
func TestInstallAgain(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.vms = []string{"banger-vm-0123456789ab.service"}
	fx.write(ipForwardFile, "1\n", 0o644) // as banger itself set it
	fx.write("../bin/bangerd", "the same version, built anew", 0o755)
	fx.write(unitDir+"/"+DaemonUnit, mark+"`, an older one", 0o644)
	if err := fx.install(func(o *InstallOptions) { o.Owner, o.Fallback = "", "bob" }); err != nil {
		t.Fatal(err)
	}
	if got := fx.read(current + "/bangerd"); got != "the same version, built anew" {
		t.Error(got)
	}
	if got := fx.read(unitDir + "/" + DaemonUnit); !strings.Contains(got, "User=alice") {
		t.Error(got)
	}
	if r, _ := fx.Record(); r.IPForwardBefore != "0" {
		t.Error("what was before is forgotten:", r.IPForwardBefore)
	}
	if len(fx.vms) != 1 {
		t.Error("a VM was touched")
	}
	for _, v := range []string{"v2", "v3"} {
		if err := fx.install(func(o *InstallOptions) { o.Build.Version = v }); err != nil {
			t.Fatal(err)
		}
	}
	kept, _ := filepath.Glob(fx.path(versions + "/*"))
	if len(kept) != 2 || filepath.Base(kept[0]) != "v2" || fx.version() != "v3" {
		t.Error("kept are", kept, "and current is", fx.version())
	}
}

func TestInstallRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		before func(fx *fixture)
		change func(o *InstallOptions)
		kind   api.Kind
		says   string
	}{
		"not root":               {func(fx *fixture) { fx.UID++ }, nil, api.KindDenied, "only root"},
		"no systemd":             {func(fx *fixture) { os.RemoveAll(fx.path("/run/systemd")) }, nil, api.KindUnsupported, "not run by systemd"},
		"no owner":               {nil, func(o *InstallOptions) { o.Owner = "" }, api.KindInvalid, "the owner of the VMs is missing"},
		"root by sudo":           {nil, func(o *InstallOptions) { o.Owner, o.Fallback = "", "root" }, api.KindInvalid, "never runs as root"},
		"an unknown owner":       {nil, func(o *InstallOptions) { o.Owner = "carol" }, api.KindInvalid, "no such user"},
		"an odd owner":           {nil, func(o *InstallOptions) { o.Owner = "alice\nGroup=0" }, api.KindInvalid, "no such user"},
		"root":                   {nil, func(o *InstallOptions) { o.Owner = "root" }, api.KindInvalid, "never runs as root"},
		"root by another name":   {nil, func(o *InstallOptions) { o.Owner = "toor" }, api.KindInvalid, "never runs as root"},
		"an owner without home":  {nil, func(o *InstallOptions) { o.Owner = "bob" }, api.KindInvalid, "the home directory /home/bob does not exist"},
		"a version with a slash": {nil, func(o *InstallOptions) { o.Build.Version = "../x" }, api.KindInvalid, "is not a valid version"},
		"a program is missing":   {func(fx *fixture) { os.Remove(filepath.Join(fx.from, "bangerd-root")) }, nil, api.KindInvalid, "no program bangerd-root"},
		"a program is no program": {func(fx *fixture) { fx.t.Helper(); _ = os.Chmod(filepath.Join(fx.from, "banger-agent"), 0o644) },
			nil, api.KindInvalid, "no program banger-agent"},
		"another's command": {func(fx *fixture) { fx.write(paths.Commands+"/banger", "x", 0o755) }, nil, api.KindConflict, "/usr/local/bin/banger: another file is there"},
		"another's helper":  {func(fx *fixture) { fx.write(paths.Commands+"/git-remote-banger", "x", 0o755) }, nil, api.KindConflict, "/usr/local/bin/git-remote-banger: another file is there"},
		"another's link":    {func(fx *fixture) { _ = os.Symlink("/opt/banger", fx.path(paths.Commands+"/banger")) }, nil, api.KindConflict, "another file is there"},
		"another's rules":   {func(fx *fixture) { fx.write(udevFile, "x", 0o644) }, nil, api.KindConflict, "59-banger.rules: another file is there"},
		"another's unit":    {func(fx *fixture) { fx.write(unitDir+"/"+DaemonUnit, "[Unit]", 0o644) }, nil, api.KindConflict, "bangerd.service: another file is there"},
		"a tampered record": {func(fx *fixture) { fx.write(paths.InstallRecord, "owner = \"alice\"\n", 0o644) }, nil, api.KindDenied, "cannot trust the install record"},
		"no uids left":      {func(fx *fixture) { fx.write("/etc/subuid", "alice:65536:2147483647\n", 0o644) }, nil, api.KindConflict, "cannot find 16384 consecutive unused uids"},
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t)
			if c.before != nil {
				c.before(fx)
			}
			before := fx.tree()
			change := c.change
			if change == nil {
				change = func(*InstallOptions) {}
			}
			err := fx.install(change)
			if api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), fx.Root) && !strings.Contains(c.says, "record") && !strings.Contains(c.says, "no program") {
				t.Errorf("%s: %v", api.KindOf(err), err)
			}
			if c.kind != api.KindInvalid && api.AsError(err).Hint == "" {
				t.Error("nothing says what to type")
			}
			if diff := cmp.Diff(before, fx.tree()); diff != "" || len(fx.calls) > 0 {
				t.Error("something was touched:", diff, fx.calls)
			}
		})
	}
}

func TestAnInstallationHasOneOwner(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(fx.path("/home/bob"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := fx.install(func(o *InstallOptions) { o.Owner = "bob" })
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "belongs to alice") {
		t.Error(err)
	}
	fx.write("/etc/passwd", "alice:x:1005:1000::/home/alice:/bin/sh\n", 0o644)
	if err := fx.install(); api.KindOf(err) != api.KindDenied || !strings.Contains(err.Error(), "uid 1005") {
		t.Error(err)
	}
}

// TestInterrupted: whatever step fails, running it again completes it.
func TestInterrupted(t *testing.T) {
	for _, call := range []string{"connect", "reload", "enable " + HelperUnit + " " + DaemonUnit + " " + RecoverUnit, "restart " + HelperUnit, "restart " + DaemonUnit} {
		fx := newFixture(t)
		fx.fails[call] = errors.New("interrupted")
		if err := fx.install(); err == nil {
			t.Error(call, "failed and nothing was said")
		}
		delete(fx.fails, call)
		if err := fx.install(); err != nil {
			t.Error(call, err)
		}
		golden.Check(t, "installed.txt", fx.tree())
	}
	for _, call := range []string{"stop " + UpdateUnit, "stop " + DaemonUnit, "traces", "stop " + HelperUnit, "disable " + HelperUnit + " " + DaemonUnit + " " + RecoverUnit, "reload", "reset " + DaemonUnit} {
		fx := newFixture(t)
		clean := fx.tree()
		if err := fx.install(); err != nil {
			t.Fatal(err)
		}
		fx.fails[call] = errors.New("interrupted")
		if _, err := fx.Uninstall(t.Context(), UninstallOptions{Purge: true}, func(string) {}); err == nil {
			t.Error(call, "failed and nothing was said")
		}
		delete(fx.fails, call)
		if _, err := fx.Uninstall(t.Context(), UninstallOptions{Purge: true}, func(string) {}); err != nil {
			t.Error(call, err)
		}
		comparePurged(t, clean, fx)
	}
}

// comparePurged: parents that every machine has, and this test's does not, stay.
func comparePurged(t *testing.T, clean string, fx *fixture) {
	t.Helper()
	var left []string
	for line := range strings.Lines(fx.tree()) {
		if !strings.Contains(clean, line) {
			left = append(left, strings.TrimSpace(line))
		}
	}
	want := []string{"drwxr-xr-x /etc/systemd", "drwxr-xr-x /etc/systemd/system", "drwxr-xr-x /usr/local/lib", "drwxr-xr-x /var/cache", "drwxr-xr-x /var/lib"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Error("the machine is not as it was:", diff)
	}
}

func TestADaemonThatDoesNotAnswer(t *testing.T) {
	fx := newFixture(t)
	fx.mute = true
	err := fx.install()
	if err == nil || !strings.Contains(err.Error(), "bangerd.service was started, but does not answer") || api.AsError(err).Hint != "journalctl -e -u bangerd" {
		t.Error(err)
	}
	s, err := fx.Status(t.Context())
	if err != nil || s.Healthy() || s.Helper.Error != "" || s.Daemon.Error != "no answer" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestStatusAndRestart(t *testing.T) {
	fx := newFixture(t)
	if _, err := fx.Status(t.Context()); api.KindOf(err) != api.KindNotFound {
		t.Error(err)
	}
	if err := fx.Restart(t.Context(), func(string) {}); api.KindOf(err) != api.KindNotFound {
		t.Error(err)
	}
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.vms = []string{"banger-vm-0123456789ab.service", "banger-vm-foreign.service"}
	s, err := fx.Status(t.Context())
	if err != nil || !s.Healthy() || s.Running != 1 || s.Daemon.PID != 7 || s.Helper.Version != "v1" {
		t.Errorf("%+v %v", s, err)
	}
	fx.calls = nil
	if err := fx.Restart(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	want := []string{"reset " + HelperUnit, "restart " + HelperUnit, "reset " + DaemonUnit, "restart " + DaemonUnit}
	if diff := cmp.Diff(want, fx.calls); diff != "" {
		t.Error(diff)
	}
}

func TestUninstallKeepsVMs(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.write(paths.System().Data+"/banger.db", "VMs", 0o600)
	fx.write(paths.SystemConfig+"/config.toml", "", 0o644)
	fx.write(ipForwardFile, "1\n", 0o644)
	left, err := fx.Uninstall(t.Context(), UninstallOptions{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{paths.SystemConfig, paths.System().Data, paths.System().Cache}, left); diff != "" {
		t.Error(diff)
	}
	golden.Check(t, "uninstalled.txt", fx.tree())
	if got := fx.read(ipForwardFile); got != "0\n" {
		t.Errorf("packets are forwarded: %q", got)
	}
	if fx.traces != 1 {
		t.Error("what the kernel holds was not removed")
	}
	if err := fx.install(); err != nil {
		t.Error("installed again over what was left:", err)
	}
}

// TestUninstallLeavesForwardingToOthers: what was off at the installation may be
// needed by now.
func TestUninstallLeavesForwardingToOthers(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.write(ipForwardFile, "1\n", 0o644)
	fx.write("/sys/class/net/eth0/mtu", "1500\n", 0o444)
	fx.write("/sys/class/net/docker0/bridge/bridge_id", "8000.000000000000\n", 0o444)
	var said []string
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{Purge: true}, func(step string) { said = append(said, step) }); err != nil {
		t.Fatal(err)
	}
	if got := fx.read(ipForwardFile); got != "1\n" {
		t.Errorf("docker0 was cut off: %q", got)
	}
	if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "the network of docker0 may rely on it") }) {
		t.Errorf("it does not say so: %q", said)
	}
	if _, err := fx.Record(); api.KindOf(err) != api.KindNotFound {
		t.Errorf("the record is left: %v", err)
	}
}

func TestUninstallRefusesWhileVMsRun(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.vms = []string{"banger-vm-0123456789ab.service", "banger-vm-0123456789ac.service"}
	before := fx.tree()
	_, err := fx.Uninstall(t.Context(), UninstallOptions{Purge: true}, func(string) {})
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "2 VMs are running") {
		t.Error(err)
	}
	if diff := cmp.Diff(before, fx.tree()); diff != "" {
		t.Error(diff)
	}
	// The daemon stops them; where it cannot, systemd does.
	for _, stops := range []bool{true, false} {
		fx.stops, fx.vms = stops, []string{"banger-vm-0123456789ab.service"}
		if _, err := fx.Uninstall(t.Context(), UninstallOptions{Force: true}, func(string) {}); err != nil || len(fx.vms) != 0 {
			t.Error(stops, err, fx.vms)
		}
		if err := fx.install(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUninstallWithABrokenRecord(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.write(paths.InstallRecord, "uid = 0\n", 0o644)
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{Purge: true}, func(string) {}); err != nil {
		t.Error(err)
	}
	// And where nothing is installed.
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{}, func(string) {}); err != nil {
		t.Error(err)
	}
	fx.UID++
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{}, func(string) {}); api.KindOf(err) != api.KindDenied {
		t.Error(err)
	}
}

// TestUninstallWithoutAHelper: one that is away is started to clean up; one that
// cannot start, or is gone already, keeps nobody from removing banger.
func TestUninstallWithoutAHelper(t *testing.T) {
	for name, c := range map[string]struct {
		active, load string
		fails        error
		traces       int
	}{
		"it is down":      {"inactive", "loaded", nil, 1},
		"it cannot start": {"failed", "loaded", errors.New("no"), 0},
		"it is gone":      {"inactive", "not-found", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fx := newFixture(t)
			if err := fx.install(); err != nil {
				t.Fatal(err)
			}
			fx.active, fx.load, fx.fails["restart "+HelperUnit] = c.active, c.load, c.fails
			if _, err := fx.Uninstall(t.Context(), UninstallOptions{Purge: true}, func(string) {}); err != nil {
				t.Fatal(err)
			}
			if fx.traces != c.traces {
				t.Errorf("traces were removed %d times", fx.traces)
			}
		})
	}
}

// TestOneAtATime: nothing that replaces programs goes on beside an installation or its
// end, whether it has a journal already or not.
func TestOneAtATime(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	path := fx.path(paths.System().Update() + "/lock")
	uninstall := func(force bool) func(Report) error {
		return func(r Report) error {
			_, err := fx.Uninstall(t.Context(), UninstallOptions{Force: force}, r)
			return err
		}
	}
	for what, do := range map[string]func(Report) error{
		"uninstall": uninstall(false), "uninstall --force": uninstall(true),
		"install": func(r Report) error {
			_, err := fx.Install(t.Context(), fx.options(), r)
			return err
		},
	} {
		if err := fx.install(); err != nil {
			t.Fatal(err)
		}
		unlock, err := installlock.Take(t.Context(), path, installlock.Update, false)
		if err != nil {
			t.Fatal(err)
		}
		before := fx.tree()
		if err := do(func(string) {}); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "an update is already running (pid ") {
			t.Errorf("%s beside an update: %v", what, err)
		}
		if diff := cmp.Diff(before, fx.tree()); diff != "" {
			t.Errorf("%s beside an update: %s", what, diff)
		}
		unlock()
		steps := 0
		err = do(func(step string) {
			unlock, err := installlock.Take(t.Context(), path, installlock.Update, false)
			if err == nil {
				unlock()
				return
			}
			steps++
			if !strings.HasPrefix(err.Error(), installlock.Installation+" is already running") && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s at %q: %v", what, step, err)
			}
		})
		if err != nil || steps < 4 {
			t.Errorf("%s kept updates out for %d steps, %v", what, steps, err)
		}
	}
}

func TestUninstallEndsAnUpdateWhereThatIsWanted(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.write(paths.System().Update()+"/journal.json", "{}", 0o600)
	fx.calls = nil
	for verb, do := range map[string]func() error{
		"install": func() error { return fx.install() },
		"uninstall": func() error {
			_, err := fx.Uninstall(t.Context(), UninstallOptions{}, func(string) {})
			return err
		},
	} {
		if err := do(); err == nil || err.Error() != "cannot "+verb+": an update has not ended" || len(fx.calls) > 0 {
			t.Errorf("%v, %v", err, fx.calls)
		}
	}
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{Force: true}, func(string) {}); err != nil || fx.calls[0] != "stop "+UpdateUnit {
		t.Errorf("%v, %v", err, fx.calls)
	}
}
