package workspace_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/workspace"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/setups"
	"banger/internal/workspace/worktest"
)

// vm2 is made from the image of the setup of vm.
var vm2 = api.VM{ID: "abcdef012345", Name: "project-2"}

// cached is a fixture whose guest's disk is that of a VM with a finished setup.
type cached struct {
	*fixture
	over workspace.Over
}

// newCached sends the files to a guest, runs a setup in it, and moves its disk to another one.
func newCached(t *testing.T, setup func(f *fixture)) *cached {
	t.Helper()
	f := newFixture(t)
	if setup == nil {
		setup = func(*fixture) {}
	}
	if err := f.ship(); err != nil {
		t.Fatal(err)
	}
	s, _, err := f.w.Shipment(vm.ID)
	if err != nil {
		t.Fatal(err)
	}
	setup(f)
	made := setups.Setup{ID: f.w.SetupID("key"), Key: "key", Commands: "commands", Base: "sha256:base", Image: "sha256:image", Directory: directory}
	if err := f.w.BeginSetup(t.Context(), s, made); err != nil {
		t.Fatal(err)
	}
	c := &cached{fixture: f, over: workspace.Over{Setup: made}}
	if c.over.Files, err = f.w.Setups().Files(made.ID); err != nil {
		t.Fatal(err)
	}
	f.guest = &dirGuest{root: copyDisk(t, f.guest.root)}
	return c
}

// copyDisk copies a directory with the times of its files, as other inodes.
func copyDisk(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(from, func(full string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(from, full)
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		place := filepath.Join(to, name)
		switch {
		case d.IsDir():
			return os.Mkdir(place, 0o755)
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(full)
			return errors.Join(err, os.Symlink(target, place))
		}
		data, err := os.ReadFile(full)
		if err == nil {
			err = os.WriteFile(place, data, info.Mode())
		}
		return errors.Join(err, os.Chtimes(place, info.ModTime(), info.ModTime()))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func (c *cached) shipOver() error {
	_, err := c.w.ShipOver(c.t.Context(), c.guest, workspace.Cargo{VM: vm2, Directory: directory}, c.over)
	return err
}

// has compares the guest's files, except those of its .git.
func (c *cached) has(want map[string]string) {
	c.t.Helper()
	if diff := cmp.Diff(want, worktest.Files(c.t, c.place(""), ".git")); diff != "" {
		c.t.Error(diff)
	}
}

func (c *cached) place(name string) string { return filepath.Join(c.guest.root, directory, name) }

// changes are what `work status` says of the VM.
func (c *cached) changes() string {
	c.t.Helper()
	first := vm
	defer func() { vm = first }()
	vm = vm2
	return c.collect()
}

func (f *fixture) remove(name string) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.top, name)); err != nil {
		f.t.Fatal(err)
	}
}

func (g *dirGuest) make(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		worktest.Write(t, filepath.Join(g.root, directory), name, content)
	}
}

// TestShipOver: the tree is the host's of now; what the setup made stays, with its times.
func TestShipOver(t *testing.T) {
	var past time.Time
	c := newCached(t, func(f *fixture) {
		f.guest.make(t, map[string]string{
			"node_modules/a/index.js": "made\n", "two": "2 of the setup\n", ".git/hooks/pre-commit": "#!/bin/sh\n", ".git/mine/config": "x", "fresh": "new\n",
		})
		info, err := os.Stat(filepath.Join(f.guest.root, directory, "one"))
		if err != nil {
			t.Fatal(err)
		}
		past = info.ModTime()
	})
	c.write("three", "3\n")
	if err := c.shipOver(); err != nil {
		t.Fatal(err)
	}
	c.has(map[string]string{"one": "1\n", "two": "2 of the setup\n", "three": "3\n", "fresh": "new\n", "node_modules/a/index.js": "made\n"})
	if info, err := os.Stat(c.place("one")); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("the time of a file that is the same: %v, %v", info.ModTime(), err)
	}
	for _, old := range []string{".git/hooks/pre-commit", ".git/mine/config"} {
		if _, err := os.Lstat(c.place(old)); err == nil {
			t.Errorf("%s is still there", old)
		}
	}
	if _, err := os.Stat(c.place(".git/HEAD")); err != nil {
		t.Error(err)
	}
	s, _, err := c.w.Shipment(vm2.ID)
	if err != nil || !s.Done || s.Prepared != "commands" || s.BaseImage != "sha256:base" {
		t.Errorf("shipment %+v, %v", s, err)
	}
	// What the setup did is the guest's change, as without an image. node_modules is not ignored here.
	if got, want := c.changes(), "A fresh\nA node_modules/a/index.js\nM two\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if slices.Contains(c.guest.fetched, "one") {
		t.Error("a file that is the same was fetched to compare it")
	}
	if got := c.git("status", "--porcelain"); got != "?? three\n" {
		t.Errorf("the host's files changed: %q", got)
	}
}

// TestShipOverTheHostWins goes through what one path can have been, and what it is on the host now.
func TestShipOverTheHostWins(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup map[string]string // files of the guest
		host  func(f *fixture)
		want  map[string]string
		says  string
	}{
		{"changed on both sides", map[string]string{"one": "setup\n"}, func(f *fixture) { f.write("one", "host\n") }, map[string]string{"one": "host\n", "two": "2\n"}, ""},
		{"changed by the setup, as long as before", map[string]string{"one": "x\n"}, func(*fixture) {}, map[string]string{"one": "x\n", "two": "2\n"}, "M one\n"},
		{"gone on the host", nil, func(f *fixture) { f.remove("one") }, map[string]string{"two": "2\n"}, ""},
		{"gone on the host, changed by the setup", map[string]string{"one": "setup\n"}, func(f *fixture) { f.remove("one") }, map[string]string{"two": "2\n"}, ""},
		{"new on both sides", map[string]string{"new": "setup\n"}, func(f *fixture) { f.write("new", "host\n") }, map[string]string{"one": "1\n", "two": "2\n", "new": "host\n"}, ""},
		{
			"a file for a directory", map[string]string{"new/deep/x": "setup\n", "new/y": "setup\n", "newer": "setup\n"},
			func(f *fixture) { f.write("new", "host\n") },
			map[string]string{"one": "1\n", "two": "2\n", "new": "host\n", "newer": "setup\n"}, "A newer\n",
		},
		{
			"a directory for a file", map[string]string{"new": "setup\n"},
			func(f *fixture) { worktest.Write(f.t, f.top, "new/x", "host\n") },
			map[string]string{"one": "1\n", "two": "2\n", "new/x": "host\n"}, "",
		},
		{
			"a directory for a link that leads elsewhere", map[string]string{"new": "-> /tmp"},
			func(f *fixture) { worktest.Write(f.t, f.top, "new/x", "host\n") },
			map[string]string{"one": "1\n", "two": "2\n", "new/x": "host\n"}, "",
		},
		{
			"a link for a file", nil,
			func(f *fixture) { worktest.Write(f.t, f.top, "one", "-> two") },
			map[string]string{"one": "-> two", "two": "2\n"}, "",
		},
		{
			"a shipped file became a directory", nil,
			func(f *fixture) { f.remove("one"); worktest.Write(f.t, f.top, "one/x", "host\n") },
			map[string]string{"one/x": "host\n", "two": "2\n"}, "",
		},
		{
			"the repository is a link", map[string]string{".git": "-> /tmp"}, func(*fixture) {},
			map[string]string{"one": "1\n", "two": "2\n"}, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := newCached(t, func(f *fixture) {
				if link := c.setup[".git"]; link != "" {
					if err := os.RemoveAll(filepath.Join(f.guest.root, directory, ".git")); err != nil {
						t.Fatal(err)
					}
				}
				f.guest.make(t, c.setup)
			})
			c.host(got.fixture)
			if err := got.shipOver(); err != nil {
				t.Fatal(err)
			}
			got.has(c.want)
			if changes := got.changes(); changes != c.says {
				t.Errorf("the guest has changed %q, want %q", changes, c.says)
			}
			if info, err := os.Lstat(got.place(".git")); err != nil || !info.IsDir() {
				t.Errorf(".git: %v", err)
			}
		})
	}
}

// TestShipOverWhatTheSetupRemoved stays removed, and is the guest's change.
func TestShipOverWhatTheSetupRemoved(t *testing.T) {
	c := newCached(t, func(f *fixture) {
		if err := os.Remove(filepath.Join(f.guest.root, directory, "one")); err != nil {
			t.Fatal(err)
		}
	})
	c.write("sent", "now\n")
	if err := c.shipOver(); err != nil {
		t.Fatal(err)
	}
	c.has(map[string]string{"two": "2\n", "sent": "now\n"})
	if got, want := c.changes(), "D one\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestShipOverInterrupted: whatever an attempt has written, and whatever the host has by the next
// one, the guest ends with the host's files.
func TestShipOverInterrupted(t *testing.T) {
	for _, at := range []string{"removal", "first file", "second file", "end"} {
		t.Run(at, func(t *testing.T) {
			c := newCached(t, nil)
			c.write("one", "between\n")
			c.write("passing", "between\n")
			c.remove("two")
			broken := errors.New("killed")
			cargo := workspace.Cargo{VM: vm2, Directory: directory}
			stop := func(n int) func(int) error {
				return func(k int) error {
					if k < n {
						return nil
					}
					return broken
				}
			}
			switch at {
			case "removal":
				c.guest.placer.Break = func(name string) error {
					if strings.HasPrefix(name, "two") {
						return nil
					}
					return broken
				}
			case "first file":
				c.guest.onFile = stop(0)
			case "second file":
				c.guest.onFile = stop(3)
			case "end":
				cargo.Placed = func(context.Context) error { return broken }
			}
			if _, err := c.w.ShipOver(t.Context(), c.guest, cargo, c.over); !errors.Is(err, broken) {
				t.Fatalf("it was to be interrupted: %v", err)
			}
			if s, _, _ := c.w.Shipment(vm2.ID); s.Done {
				t.Error("it counts as done")
			}
			c.guest.onFile, c.guest.placer.Break = nil, nil
			c.write("one", "1\n") // as at first: only the first attempt has changed it
			c.write("two", "2\n")
			c.remove("passing")
			if err := c.shipOver(); err != nil {
				t.Fatal(err)
			}
			c.has(map[string]string{"one": "1\n", "two": "2\n"})
			if got := c.changes(); got != "" {
				t.Errorf("the guest has changed %q", got)
			}
		})
	}
}

// TestShipOverAnEmptyDisk: an image that has lost the directory gets all files.
func TestShipOverAnEmptyDisk(t *testing.T) {
	c := newCached(t, nil)
	c.guest = &dirGuest{root: t.TempDir()}
	if err := c.shipOver(); err != nil {
		t.Fatal(err)
	}
	c.has(map[string]string{"one": "1\n", "two": "2\n"})
	if got := c.changes(); got != "" {
		t.Errorf("the guest has changed %q", got)
	}
}

// TestShipOverWhatIsNotSentAnyMore: an ignored file that was sent by request goes, and one that
// the setup made stays.
func TestShipOverWhatIsNotSentAnyMore(t *testing.T) {
	f := newFixture(t)
	f.write(".gitignore", "*.env\n")
	f.write("secret.env", "TOKEN=1\n")
	cargo := workspace.Cargo{VM: vm, Directory: directory, Select: gitrepo.Select{IncludeIgnored: []string{"*.env"}}}
	if _, err := f.w.Ship(t.Context(), f.guest, cargo); err != nil {
		t.Fatal(err)
	}
	f.guest.write(t, "other.env", "made\n")
	s, _, _ := f.w.Shipment(vm.ID)
	made := setups.Setup{ID: f.w.SetupID("key"), Directory: directory}
	if err := f.w.BeginSetup(t.Context(), s, made); err != nil {
		t.Fatal(err)
	}
	files, err := f.w.Setups().Files(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	c := &cached{f, workspace.Over{Setup: made, Files: files}}
	if err := c.shipOver(); err != nil {
		t.Fatal(err)
	}
	c.has(map[string]string{"one": "1\n", "two": "2\n", ".gitignore": "*.env\n", "other.env": "made\n"})
}

// TestShipOverHostile: a guest that lists names which lead out of its directory, and files that it
// does not have, gets the host's files all the same, and nothing on the host is written.
func TestShipOverHostile(t *testing.T) {
	c := newCached(t, nil)
	before := worktest.Files(t, c.top, ".git")
	outside := t.TempDir()
	worktest.Write(t, outside, "file", "mine\n")
	c.guest.lies = []string{"../../" + filepath.Base(outside) + "/file", outside + "/file", "one/below", "passwd", ".git/../../x", ""}
	c.write("one", "host\n")
	before["one"] = "host\n"
	if err := c.shipOver(); err != nil {
		t.Log(err) // to refuse is right, too
	} else if got, err := os.ReadFile(c.place("one")); err != nil || string(got) != "host\n" {
		t.Errorf("one: %q, %v", got, err)
	}
	if diff := cmp.Diff(before, worktest.Files(t, c.top, ".git")); diff != "" {
		t.Error(diff)
	}
	if got := worktest.Files(t, outside); !maps.Equal(got, map[string]string{"file": "mine\n"}) {
		t.Errorf("outside: %v", got)
	}
}
