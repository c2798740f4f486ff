package session

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/internal/image/oci/registrytest"
	"banger/internal/paths"
	"banger/test/harness"
)

// Options are what the scripts of one test have in common.
type Options struct {
	Dir      string   // where the scripts are
	Files    []string // or which they are
	Template string   // a home with kernels and images, which each script gets a copy of
	Config   string   // config.toml
	Env      []string // NAME=value
	// System: the scripts' commands mean the banger that is installed on this
	// machine, and Template is empty. See AsOwner.
	System bool
	// Idle is what a daemon at rest is like.
	Idle Usage
	// Cmds are commands beside those of this package.
	Cmds map[string]Command
	// Allowed says of a file, by its path below the home, that it may be left.
	Allowed func(name string) bool
}

// Command is a command of test scripts.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Run runs all scripts, in parallel.
func Run(t *testing.T, o Options) {
	root := workRoot(t)
	cmds := commands()
	maps.Copy(cmds, o.Cmds)
	testscript.Run(t, testscript.Params{
		Dir: o.Dir, Files: o.Files, WorkdirRoot: root, Cmds: cmds, RequireUniqueNames: true, RequireExplicitExec: true,
		Setup:     func(env *testscript.Env) error { return setUp(env, o) },
		Condition: condition,
	})
}

// workRoot makes a directory on the file system of the caches, so that scripts
// can share their large files.
func workRoot(t *testing.T) string {
	cache, err := harness.Cache()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp(cache, "work-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Getenv("BANGER_TEST_KEEP") != "" {
			t.Logf("kept: %s", root)
		} else if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	return root
}

// setUp prepares one script.
func setUp(env *testscript.Env, o Options) error {
	home := filepath.Join(env.WorkDir, "home")
	p := pathsOf(home)
	if o.System {
		p = paths.System()
	} else {
		if err := harness.CopyTree(o.Template, home); err != nil {
			return err
		}
		if err := os.WriteFile(p.ConfigFile(), []byte(o.Config), 0o600); err != nil {
			return err
		}
		env.Setenv("BANGER_HOME", home)
	}
	env.Setenv("DATA", p.Data)
	env.Setenv("TERM", "xterm")
	env.Vars = append(env.Vars, o.Env...)
	if program, err := exec.LookPath("banger"); err == nil {
		env.Setenv("BANGER", program)
	}
	w := &fixture{t: env.T().(testing.TB), home: home, paths: p, env: env.Vars, options: o, running: map[string]*background{}, registries: map[string]*registrytest.Registry{}}
	env.Values[worldKey{}] = w
	env.Defer(w.end)
	return nil
}

// fixture is what a script's commands need.
type fixture struct {
	t          testing.TB
	home       string // in user mode; empty in system mode
	paths      paths.Paths
	env        []string
	options    Options
	changed    bool // setting has changed the configuration of system mode
	running    map[string]*background
	registries map[string]*registrytest.Registry
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *fixture { return ts.Value(worldKey{}).(*fixture) }
