package system

import (
	"maps"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/system/record"
)

func TestFiles(t *testing.T) {
	fx := newFixture(t)
	if _, err := fx.Files(); api.KindOf(err) != api.KindNotFound {
		t.Errorf("not installed: %v", err)
	}
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	files, err := fx.Files()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(unitNames)+1 {
		t.Errorf("%d files", len(files))
	}
	for path, text := range files {
		if fx.read(path) != text {
			t.Errorf("%s is another than what was installed", path)
		}
	}
	if err := CheckFiles(files); err != nil {
		t.Errorf("what we write ourselves is refused: %v", err)
	}
}

func TestCheckFilesRefuses(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	good, err := fx.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(map[string]string){
		"nothing":           func(f map[string]string) { clear(f) },
		"no helper":         func(f map[string]string) { delete(f, unitDir+"/"+HelperUnit) },
		"another directory": func(f map[string]string) { f["/etc/cron.d/bangerd.service"] = mark },
		"dots":              func(f map[string]string) { f[unitDir+"/../bangerd.service"] = mark },
		"below":             func(f map[string]string) { f[unitDir+"/ssh.service.d/bangerd.service"] = mark },
		"somebody's unit":   func(f map[string]string) { f[unitDir+"/ssh.service"] = mark },
		"a VM's":            func(f map[string]string) { f[unitDir+"/banger-vm-abc.service"] = mark },
		"a template":        func(f map[string]string) { f[unitDir+"/bangerd@.service"] = mark },
		"other rules":       func(f map[string]string) { f["/etc/udev/rules.d/10-banger.rules"] = mark },
		"no mark":           func(f map[string]string) { f[unitDir+"/"+DaemonUnit] = "[Unit]\n" },
		"no text":           func(f map[string]string) { f[unitDir+"/"+DaemonUnit] = mark + "\x00" },
		"too long":          func(f map[string]string) { f[unitDir+"/"+DaemonUnit] = mark + strings.Repeat("x", maxFile) },
		"too many": func(f map[string]string) {
			for c := 'a'; c <= 'z'; c++ {
				f[unitDir+"/banger-x-"+string(c)+".service"] = mark
			}
		},
	} {
		files := maps.Clone(good)
		spoil(files)
		if CheckFiles(files) == nil {
			t.Errorf("%s: is taken", name)
		}
	}
	one := maps.Clone(good)
	one[unitDir+"/banger-new-thing.timer"] = mark
	if err := CheckFiles(one); err != nil {
		t.Errorf("a later version's unit: %v", err)
	}
}

func TestInstalledAndSetBuild(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	if r, err := fx.Installed(versions + "/v1"); err != nil || r.Version != "v1" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := fx.Installed("/home/alice/banger/bin"); api.KindOf(err) != api.KindConflict || api.AsError(err).Hint == "" {
		t.Errorf("of a checkout: %v", err)
	}
	if err := fx.SetBuild(func(r *record.Record) { r.Version = "v2" }); err != nil {
		t.Fatal(err)
	}
	if r, err := fx.Record(); err != nil || r.Version != "v2" || r.Owner != "alice" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestUpdatesAreWaitedFor(t *testing.T) {
	const journal = "/var/lib/banger/update/journal.json"
	fx := newFixture(t)
	fx.write(journal, "{}", 0o600)
	if err := fx.install(); api.KindOf(err) != api.KindConflict {
		t.Errorf("installed during an update: %v", err)
	}
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{}, func(string) {}); api.KindOf(err) != api.KindConflict {
		t.Errorf("uninstalled during an update: %v", err)
	}
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{Force: true}, func(string) {}); err != nil {
		t.Error("by force:", err)
	}
	if err := fx.install(); err != nil {
		t.Error("installed after an update was given up:", err)
	}
}
