package system

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/fetch"
	"banger/internal/installlock"
	"banger/internal/paths"
	"banger/internal/system/fcrelease"
	"banger/internal/system/fcrelease/fctest"
	"banger/internal/vmid"
)

// fcWorld is a machine with banger, and a page with releases of Firecracker.
type fcWorld struct {
	*fixture
	page    *fctest.Server
	options FirecrackerOptions
	said    []string
}

func newFCWorld(t *testing.T) *fcWorld {
	t.Helper()
	w := &fcWorld{fixture: newFixture(t), page: fctest.Serve()}
	t.Cleanup(w.page.Close)
	// Programs are tried by nobody, who has to get there.
	for dir := w.Root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.install(); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.page.Certificate())
	w.options = FirecrackerOptions{
		Source: w.page.URL(), Client: fcrelease.NewClient(fetch.Options{Roots: roots}), Progress: func(string, int64, int64) {},
	}
	return w
}

func (w *fcWorld) get(change ...func(*FirecrackerOptions)) (FirecrackerChange, error) {
	o := w.options
	for _, c := range change {
		c(&o)
	}
	return w.GetFirecracker(w.t.Context(), o, func(what string) { w.said = append(w.said, what) })
}

func (w *fcWorld) mustGet(version string) FirecrackerChange {
	w.t.Helper()
	w.page.Publish(version)
	c, err := w.get()
	if err != nil || c.Version != version || !c.Changed {
		w.t.Fatalf("%+v, %v", c, err)
	}
	return c
}

func back(o *FirecrackerOptions) { o.Back = true }

func TestFirecracker(t *testing.T) {
	w := newFCWorld(t)
	w.used = FirecrackerState{Version: "1.16.1", Path: paths.FirecrackerCurrent + "/firecracker", Jailer: paths.FirecrackerCurrent + "/jailer"}
	w.mustGet("1.16.0")
	if c := w.mustGet("1.16.1"); c.Previous != "1.16.0" || c.Other() != "" || c.Used.Version != "1.16.1" {
		t.Errorf("%+v", c)
	}
	if c, err := w.get(); err != nil || c.Changed {
		t.Errorf("once more: %+v, %v", c, err)
	}
	if c, err := w.get(back); err != nil || c.Version != "1.16.0" || c.Previous != "1.16.1" || !c.Changed {
		t.Errorf("back: %+v, %v", c, err)
	}
	if target, err := filepath.EvalSymlinks(w.path(paths.FirecrackerCurrent + "/firecracker")); err != nil || !strings.HasSuffix(target, "/versions/1.16.0/firecracker") {
		t.Error(target, err)
	}
	s, err := w.Status(t.Context())
	if err != nil || s.Firecracker.Version != "1.16.1" {
		t.Errorf("%+v, %v", s.Firecracker, err)
	}
	if _, err := w.Uninstall(t.Context(), UninstallOptions{}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(w.path(paths.Firecracker)); !os.IsNotExist(err) {
		t.Error("the uninstallation left it:", err)
	}
}

// TestFirecrackerOfAVM: what a VM runs stays, whatever is got meanwhile.
func TestFirecrackerOfAVM(t *testing.T) {
	w := newFCWorld(t)
	w.mustGet("1.15.1")
	w.vms = []string{vmid.Unit("0123456789ab")}
	exe := "/proc/7/exe" // 7 is the main process of each unit here
	w.write(exe, w.read(paths.FirecrackerCurrent+"/firecracker"), 0o755)
	w.mustGet("1.16.0")
	if c := w.mustGet("1.16.1"); len(c.Kept) != 1 || c.Kept[0] != "1.15.1" {
		t.Errorf("%+v", c)
	}
	// A process that cannot be looked at: nothing is removed.
	w.write(exe, "QEMU", 0o755)
	w.fails["list"] = os.ErrDeadlineExceeded
	if c, err := w.get(); err != nil || len(c.Kept) != 1 || !strings.Contains(strings.Join(w.said, "\n"), "older versions were not removed") {
		t.Errorf("%+v, %v: %q", c, err, w.said)
	}
	delete(w.fails, "list")
	if c, err := w.get(); err != nil || len(c.Kept) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := os.Stat(w.path(paths.Firecracker + "/versions/1.15.1")); !os.IsNotExist(err) {
		t.Error("it is there, and nobody has it:", err)
	}
}

// TestFirecrackerByHand: going back from the first one that was got leads to the one
// that somebody installed by hand.
func TestFirecrackerByHand(t *testing.T) {
	w := newFCWorld(t)
	w.mustGet("1.16.1")
	if _, err := w.get(back); api.KindOf(err) != api.KindNotFound {
		t.Error(err)
	}
	w.write("/usr/local/bin/firecracker", "by hand", 0o755)
	if c, err := w.get(back); err != nil || c.Version != "" || !c.Changed {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := os.Lstat(w.path(paths.FirecrackerCurrent)); !os.IsNotExist(err) {
		t.Error("it is used still:", err)
	}
}

func TestFirecrackerIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*fcWorld) FirecrackerOptions
		kind api.Kind
		want string
	}{
		"not root":      {func(w *fcWorld) FirecrackerOptions { w.UID++; return w.options }, api.KindDenied, "only root can"},
		"not installed": {func(w *fcWorld) FirecrackerOptions { w.removeAll(paths.InstallRecord); return w.options }, api.KindNotFound, "banger is not installed"},
		"plain HTTP": {func(w *fcWorld) FirecrackerOptions {
			w.options.Source = "http://example.com/releases"
			return w.options
		}, api.KindInvalid, "plain http is allowed to this machine only"},
		"two at once": {func(w *fcWorld) FirecrackerOptions {
			release, err := installlock.Take(w.t.Context(), filepath.Join(w.path(paths.System().Update()), "lock"), installlock.Installation, false)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(release)
			return w.options
		}, api.KindConflict, "an installation is already running (pid"},
		"an update": {func(w *fcWorld) FirecrackerOptions {
			w.write(paths.System().Update()+"/journal.json", "{}", 0o600)
			return w.options
		}, api.KindConflict, "an update has not ended"},
		"others may write there": {func(w *fcWorld) FirecrackerOptions {
			if err := os.Chmod(w.path("/usr/local"), 0o777); err != nil {
				w.t.Fatal(err)
			}
			return w.options
		}, api.KindDenied, "others than root can change"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFCWorld(t)
			w.page.Publish("1.16.1")
			o := c.do(w)
			_, err := w.GetFirecracker(t.Context(), o, func(string) {})
			if err == nil || api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || api.AsError(err).Hint == "" {
				t.Errorf("%v (%s)", err, api.KindOf(err))
			}
			if asked := w.page.Asked(); len(asked) > 0 {
				t.Error("it asked for", asked)
			}
			if _, err := os.Lstat(w.path(paths.FirecrackerCurrent)); !os.IsNotExist(err) {
				t.Error("something was changed:", err)
			}
		})
	}
}

func (fx *fixture) removeAll(path string) {
	fx.t.Helper()
	if err := os.RemoveAll(fx.path(path)); err != nil {
		fx.t.Fatal(err)
	}
}

// TestFirecrackerConfig: who can write the settings could have root run a program of
// theirs.
func TestFirecrackerConfig(t *testing.T) {
	fx := newFixture(t)
	if _, err := fx.FirecrackerConfig(); err != nil {
		t.Errorf("no settings: %v", err)
	}
	fx.write("/etc/banger/config.toml", "", 0o644)
	if path, err := fx.FirecrackerConfig(); err != nil || path != fx.path("/etc/banger/config.toml") {
		t.Error(path, err)
	}
	if err := os.Chmod(fx.path("/etc/banger/config.toml"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := fx.FirecrackerConfig(); api.KindOf(err) != api.KindDenied {
		t.Error(err)
	}
	if err := os.Remove(fx.path("/etc/banger/config.toml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/tmp/elsewhere", fx.path("/etc/banger/config.toml")); err != nil {
		t.Fatal(err)
	}
	if _, err := fx.FirecrackerConfig(); api.KindOf(err) != api.KindDenied {
		t.Errorf("a link: %v", err)
	}
}

// TestOtherFirecracker: what the settings name is used instead, and that is said.
func TestOtherFirecracker(t *testing.T) {
	own := paths.Firecracker + "/versions/1.16.1/"
	for name, c := range map[string]struct {
		used FirecrackerState
		want string
	}{
		"ours":     {FirecrackerState{Version: "1.16.1", Path: own + "firecracker", Jailer: own + "jailer"}, ""},
		"another":  {FirecrackerState{Version: "1.15.1", Path: "/opt/firecracker", Jailer: own + "jailer"}, "VMs use /opt/firecracker, which"},
		"a jailer": {FirecrackerState{Version: "1.16.1", Path: own + "firecracker", Jailer: "/opt/jailer"}, "VMs use the jailer /opt/jailer, which"},
		"unknown":  {FirecrackerState{Problem: "no answer", Unknown: true}, "cannot find out whether VMs use it: no answer"},
		"none":     {FirecrackerState{Problem: "others can change it"}, "others can change it"},
	} {
		if got := (FirecrackerChange{Version: "1.16.1", Used: c.used}).Other(); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}
