package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/paths"
	"banger/internal/update"
)

// TestAnInterruptedUpdate is gone on with by `banger update` alone: who only looks, or
// wants something else, carries out nothing.
func TestAnInterruptedUpdate(t *testing.T) {
	var out bytes.Buffer
	a := newApp(nil, &out, &out, os.Getenv)
	in := installation{machine: update.Machine{Place: update.Place{State: t.TempDir()}}, sudo: "sudo "}
	journal := filepath.Join(in.machine.State, "journal.json")
	if err := os.WriteFile(journal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]updateFlags{
		"--check": {check: true}, "--dry-run": {dryRun: true}, "--rollback": {back: true}, "--to": {to: "v1.2.3"},
	} {
		u := updating{std: a.std, f: f, in: in}
		err := u.resume(t.Context())
		if api.KindOf(err) != api.KindConflict || !strings.HasPrefix(api.AsError(err).Hint, "sudo banger update ") || out.Len() > 0 {
			t.Errorf("%s: %v\n%s", name, err, &out)
		}
	}
	u := updating{std: a.std, f: updateFlags{force: true}, in: in}
	if err := u.resume(t.Context()); err == nil || !strings.Contains(out.String(), "continuing") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// TestUnprovenDaemonIsForTheSystem: in user mode there is no other side to prove.
func TestUnprovenDaemonIsForTheSystem(t *testing.T) {
	prefix := t.TempDir()
	in := update.OfUser(paths.Paths{Data: t.TempDir()}, prefix, func(string) {})
	if err := (updateFlags{unproven: true}).fits(in); err == nil {
		t.Error("it is taken for a user's own installation")
	}
	if err := (updateFlags{}).fits(in); err != nil {
		t.Error(err)
	}
	in.System = true
	if err := (updateFlags{unproven: true}).fits(in); err != nil {
		t.Error(err)
	}
}

func TestPlannedCommands(t *testing.T) {
	for want, links := range map[string][]commands.Link{
		"unchanged":                  nil,
		"git-remote-banger is added": {{Name: "git-remote-banger", State: commands.Missing}},
		"banger is not added: another file is there; git-remote-banger is added": {{Name: "banger", State: commands.Other}, {Name: "git-remote-banger", State: commands.Missing}},
	} {
		if got := plannedCommands(links); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
