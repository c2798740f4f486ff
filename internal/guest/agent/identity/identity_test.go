package identity

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/guest/agentproto"
)

const oldID = "0123456789abcdef0123456789abcdef"

// tree makes the files of a guest named parent.
func tree(t *testing.T, files map[string]string) (Options, *[]string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	var set []string
	return Options{Root: root, Hostname: "parent", SetHostname: func(name string) error { set = append(set, name); return nil }}, &set
}

func (o Options) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(o.Root, name))
	return string(text)
}

func states(steps []agentproto.Step) string {
	var s []string
	for _, step := range steps {
		s = append(s, step.Name+" "+string(step.State))
	}
	return strings.Join(s, ", ")
}

func became(o Options, id *agentproto.Identity) string {
	steps, _ := Become(o, id)
	return states(steps)
}

func TestBecome(t *testing.T) {
	o, set := tree(t, map[string]string{
		"etc/hosts":    "127.0.0.1\tlocalhost\n127.0.1.1\tparent parent.lan # parent\n10.0.0.9 parent\n::1 localhost parent\n",
		"etc/hostname": "parent\n", "etc/machine-id": oldID + "\n", "var/lib/dbus/machine-id": oldID,
	})
	mode := os.FileMode(0o444) // as systemd leaves it
	if os.Geteuid() != 0 {
		mode = 0o644 // only root writes the other one
	}
	if err := os.Chmod(filepath.Join(o.Root, "etc/machine-id"), mode); err != nil {
		t.Fatal(err)
	}
	steps, _ := Become(o, &agentproto.Identity{Hostname: "child"})
	if got := states(steps); got != "host name done, machine-id done, ssh host keys skipped" {
		t.Errorf("%s: %+v", got, steps)
	}
	if strings.Join(*set, " ") != "child" || o.read("etc/hostname") != "child\n" {
		t.Errorf("%q, %q", *set, o.read("etc/hostname"))
	}
	want := "127.0.0.1\tlocalhost\n127.0.1.1\tchild parent.lan # parent\n10.0.0.9 parent\n::1\tlocalhost child\n"
	if got := o.read("etc/hosts"); got != want {
		t.Errorf("%q", got)
	}
	id := o.read("etc/machine-id")
	if !isMachineID(strings.TrimSpace(id)) || id == oldID+"\n" || id[12] != '4' || o.read("var/lib/dbus/machine-id") != id {
		t.Errorf("%q, %q", id, o.read("var/lib/dbus/machine-id"))
	}
	if _, err := os.Stat(filepath.Join(o.Root, "run/machine-id")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file was made that was not there")
	}
	if info, err := os.Stat(filepath.Join(o.Root, "etc/machine-id")); err != nil || info.Mode().Perm() != mode {
		t.Error(info, err)
	}
}

func TestStays(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		id    *agentproto.Identity
		want  string
	}{
		"nothing there":     {nil, nil, "host name skipped, machine-id skipped, ssh host keys skipped"},
		"the same name":     {nil, &agentproto.Identity{Hostname: "parent"}, "host name skipped, machine-id skipped, ssh host keys skipped"},
		"not yet made":      {map[string]string{"etc/machine-id": "uninitialized\n"}, nil, "host name skipped, machine-id skipped, ssh host keys skipped"},
		"credentials":       {map[string]string{"etc/machine-id": oldID + "\n", credentials: "x"}, nil, "host name skipped, machine-id skipped, ssh host keys skipped"},
		"another host name": {map[string]string{"etc/hostname": "mine\n", "etc/hosts": "127.0.1.1 mine\n"}, &agentproto.Identity{Hostname: "child"}, "host name done, machine-id skipped, ssh host keys skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := tree(t, c.files)
			if got := became(o, c.id); got != c.want {
				t.Error(got)
			}
			for file, text := range c.files {
				if got := o.read(file); got != text {
					t.Errorf("%s is now %q", file, got)
				}
			}
		})
	}
}

// TestFails: one step that fails does not prevent the others, and is told.
func TestFails(t *testing.T) {
	o, _ := tree(t, map[string]string{"etc/machine-id": oldID, "etc/hosts": strings.Repeat("x", maxFile+1)})
	steps, _ := Become(o, &agentproto.Identity{Hostname: "child"})
	if got := states(steps); got != "host name failed, machine-id done, ssh host keys skipped" || !strings.Contains(steps[0].Detail, "too large") {
		t.Errorf("%s: %.200v", got, steps)
	}
	o.SetHostname = func(string) error { return errors.New("no") }
	if got := became(o, &agentproto.Identity{Hostname: "child"}); got != "host name failed, machine-id done, ssh host keys skipped" {
		t.Error(got)
	}
}

// TestLinks: a symbolic link is not followed out of the root.
func TestLinks(t *testing.T) {
	o, _ := tree(t, map[string]string{"etc/machine-id": oldID})
	outside := filepath.Join(t.TempDir(), "outside")
	dbus := filepath.Join(o.Root, "var/lib/dbus")
	if err := errors.Join(os.WriteFile(outside, []byte(oldID), 0o644), os.MkdirAll(dbus, 0o755), os.Symlink(outside, dbus+"/machine-id")); err != nil {
		t.Fatal(err)
	}
	Become(o, nil)
	if text, err := os.ReadFile(outside); string(text) != oldID {
		t.Error(string(text), err)
	}
}

func FuzzRenameHost(f *testing.F) {
	f.Add("127.0.1.1 parent\n::1 a parent#parent")
	f.Fuzz(func(t *testing.T, text string) {
		got := renameHost(text, "parent", "child")
		if strings.Contains(text, "parent") {
			return
		}
		if got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}
