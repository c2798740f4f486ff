package update

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/update/journal"
)

// offers is a version with a list of commands.
func offers(names ...string) string {
	return "version=v1.1.0 schema=1 commands=" + strings.Join(names, ",")
}

// TestEveryCommandIsAdded: whichever link an installation lacks is there after the update, and the others stay.
func TestEveryCommandIsAdded(t *testing.T) {
	names := append(slices.Clone(commands.Names), "banger-later")
	for _, lacks := range names {
		fx := newFixture(t)
		for _, name := range names {
			if _, err := commands.Add(filepath.Join(fx.Bin, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(filepath.Join(fx.Bin, lacks)); err != nil {
			t.Fatal(err)
		}
		plan, err := fx.plan(t, offers(names...), Options{})
		if err != nil || !slices.Equal(plan.Commands, []commands.Link{{Name: lacks, State: commands.Missing}}) {
			t.Errorf("%s: planned %v, %v", lacks, plan.Commands, err)
		}
		if commands.Look(filepath.Join(fx.Bin, lacks)) != commands.Missing {
			t.Errorf("%s: it was added before the version had proven itself", lacks)
		}
		j, err := fx.Apply(t.Context())
		if err != nil || j.State != journal.Done || len(j.Problems) > 0 {
			t.Fatalf("%s: %s %q, %v", lacks, j.State, j.Problems, err)
		}
		if left := commands.Unlinked(fx.Bin, names); len(left) > 0 {
			t.Errorf("%s: %v", lacks, left)
		}
		if !slices.Contains(fx.said, "added the command "+filepath.Join(fx.Bin, lacks)) {
			t.Errorf("%s: nothing says so: %q", lacks, fx.said)
		}
	}
}

// TestAnothersFileStays: it is left alone and named, and the update is made.
func TestAnothersFileStays(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"a file":          func(path string) error { return os.WriteFile(path, []byte("mine"), 0o755) },
		"a link":          func(path string) error { return os.Symlink("/bin/true", path) },
		"a dangling link": func(path string) error { return os.Symlink("gone", path) },
		"a directory":     func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		for _, late := range []bool{false, true} { // only after the update had begun
			fx := newFixture(t)
			path := filepath.Join(fx.Bin, "git-remote-banger")
			begin := func() {
				if err := fx.begin(t, offers(commands.Names...)); err != nil {
					t.Fatal(err)
				}
			}
			if late {
				begin()
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			if !late {
				begin()
			}
			j, err := fx.Apply(t.Context())
			if err != nil || !j.Made() || fx.Current() != "v1.1.0" {
				t.Fatalf("%s: %s %s, %v", what, j.State, j.Reason, err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("%s: it was replaced: %v", what, err)
			}
			want := "problem: cannot add the command " + path + ": another file is there; `banger doctor` says what to type"
			if said := Summary(j); !slices.Contains(said, want) || slices.Contains(fx.said, "added the command "+path) {
				t.Errorf("%s: %q", what, said)
			}
			fx.tidy(t)
		}
	}
}

// TestNoCommandWithoutProof: what is rolled back has added none, and a rollback by request adds none.
func TestNoCommandWithoutProof(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, offers(commands.Names...)+" fails=exec"); err != nil {
		t.Fatal(err)
	}
	if j, err := fx.Apply(t.Context()); err != nil || j.State != journal.RolledBack {
		t.Fatal(j.State, err)
	}
	if fx.has("bin/git-remote-banger") {
		t.Error("the update was not made, and a command of it is there")
	}

	fx = newFixture(t)
	fx.put(t, "prefix/versions/v1.0.0/bangerd", "version=v1.0.0 schema=1 commands=banger,git-remote-banger")
	if err := fx.begin(t, offers("banger")); err != nil {
		t.Fatal(err)
	}
	if j, err := fx.Apply(t.Context()); err != nil || !j.Made() {
		t.Fatal(j.Reason, err)
	}
	if _, err := fx.BeginRollback(t.Context(), journal.Build{Version: "v1.1.0"}, Options{}); err != nil {
		t.Fatal(err)
	}
	if j, err := fx.Apply(t.Context()); err != nil || !j.Made() || fx.has("bin/git-remote-banger") {
		t.Error(j.Reason, err)
	}
}

// TestCommandsThatCannotBeAdded: a proven version stays, whatever keeps its links from being made.
func TestCommandsThatCannotBeAdded(t *testing.T) {
	fx := newFixture(t)
	if err := fx.begin(t, offers(commands.Names...)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(fx.Bin), os.WriteFile(fx.Bin, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	j, err := fx.Apply(t.Context())
	if err != nil || !j.Made() || len(j.Problems) != 1 || !strings.Contains(j.Problems[0], "cannot add the command "+fx.Bin) {
		t.Errorf("%s %q, %v", j.State, j.Problems, err)
	}
	fx.tidy(t)
}

// TestProgramsElsewhere have no links, and nothing is asked for them.
func TestProgramsElsewhere(t *testing.T) {
	fx := newFixture(t)
	fx.Bin = ""
	plan, err := fx.plan(t, offers(commands.Names...), Options{})
	if err != nil || len(plan.Commands) > 0 {
		t.Fatal(plan.Commands, err)
	}
	if j, err := fx.Apply(t.Context()); err != nil || !j.Made() || len(j.Problems) > 0 {
		t.Error(j.Reason, j.Problems, err)
	}
}

// TestADryRunAddsNoCommand, and says which would be.
func TestADryRunAddsNoCommand(t *testing.T) {
	fx := newFixture(t)
	plan, err := fx.plan(t, offers(commands.Names...), Options{DryRun: true})
	if err != nil || len(plan.Commands) != 1 || fx.has("bin/git-remote-banger") || fx.has("state/update/journal.json") {
		t.Error(plan.Commands, err)
	}
}

// TestForeignNamesAreRefused: a journal names no link but banger's.
func TestForeignNamesAreRefused(t *testing.T) {
	fx := newFixture(t)
	for _, name := range []string{"ls", "../lib/banger"} {
		if err := fx.begin(t, offers("banger", name)); err == nil || fx.has("state/update/journal.json") {
			t.Errorf("%s: %v", name, err)
		} else if api.KindOf(err) != api.KindInternal {
			t.Errorf("%s: %v", name, err)
		}
	}
}
