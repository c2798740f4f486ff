package session

import (
	"os"
	"path/filepath"
	"testing"

	"banger/test/harness"
)

// Measure returns what a daemon holds that has done nothing yet.
func Measure(t *testing.T, o Options) Usage {
	home := filepath.Join(workRoot(t), "home")
	if err := harness.CopyTree(o.Template, home); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(o.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(append(os.Environ(), "BANGER_HOME="+home), o.Env...)
	w := &fixture{t: t, home: home, paths: pathsOf(home), env: env, options: o}
	w.banger("vm", "list")
	s, err := status(t.Context(), w.paths)
	if err != nil {
		t.Fatal(err)
	}
	w.banger("daemon", "stop")
	return Usage{Goroutines: s.Goroutines, OpenFiles: s.OpenFiles}
}
