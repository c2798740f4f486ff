package e2e

import (
	"os"
	"testing"

	"banger/test/harness"
	"banger/test/harness/guests"
	"banger/test/harness/session"
)

const settings = guests.Settings

func TestScripts(t *testing.T) {
	programs := build(t)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	home := template(t)
	// A first boot finds out once, for all, whether KVM works here.
	banger(t, home, "vm", "run", "--rm", "--", "true")
	banger(t, home, "daemon", "stop")
	server, err := harness.BuildAt(t.Context(), t.TempDir(), "test/e2e/echoserver")
	if err != nil {
		t.Fatal(err)
	}
	options := session.Options{
		Dir: "testdata", Template: home, Config: settings, Env: []string{"BYTES=20000000", "ECHOSERVER=" + server},
		Cmds: map[string]session.Command{"crowd": (&crowd{}).command},
	}
	options.Idle = session.Measure(t, options)
	session.Run(t, options)
}

func build(t *testing.T) string {
	dir := t.TempDir()
	if err := guests.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func template(t *testing.T) string {
	home, err := guests.Home(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return home
}

func banger(t *testing.T, home string, args ...string) {
	t.Helper()
	if err := guests.Run(t.Context(), home, args...); err != nil {
		t.Fatal(err)
	}
}
