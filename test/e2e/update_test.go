package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"banger/internal/update/release"
	"banger/internal/update/repotest"
	"banger/test/harness"
	"banger/test/harness/session"
)

// broken is a daemon that can be asked, as an update asks it, and does not start.
const broken = `#!/bin/sh
case "$*" in *--check-migrations*) echo "schema 1, known 1"; exit 0;; esac
echo "it does not start" >&2
exit 1
`

// TestUpdate: real programs of several versions, a repository, and a real guest
// under them. $VERSIONS holds the programs, $URL and $ROOT are the repository.
func TestUpdate(t *testing.T) {
	programs := build(t)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	home := template(t)
	banger(t, home, "vm", "run", "--rm", "--", "true")
	banger(t, home, "daemon", "stop")
	versions := releases(t)
	repository, root := publish(t, versions)
	server := repotest.Serve(repository)
	t.Cleanup(server.Close)
	options := session.Options{
		Dir: "testdata/update", Template: home, Config: settings,
		Env: []string{"VERSIONS=" + versions, "URL=" + server.URL, "ROOT=" + root},
		// What an update remembers.
		Allowed: func(name string) bool { return name == "data/update" || strings.HasPrefix(name, "data/update/") },
	}
	options.Idle = session.Measure(t, options)
	session.Run(t, options)
}

// releases makes the programs of two good versions and one that does not start.
func releases(t *testing.T) string {
	dir := t.TempDir()
	for _, version := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, program := range release.Programs {
			if _, err := harness.BuildVersion(t.Context(), filepath.Join(dir, version), program, version); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "v1.2.0", "bangerd"), []byte(broken), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// publish makes a signed repository of the versions in dir, and returns it with the
// file that is to be trusted.
func publish(t *testing.T, dir string) (repository, root string) {
	repository = t.TempDir()
	r, err := repotest.New(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		archive := repotest.Archive(repotest.Programs(func(name string) []byte {
			data, err := os.ReadFile(filepath.Join(dir, version, name))
			if err != nil {
				t.Error(err)
			}
			return data
		})...)
		if _, err := r.Add(repotest.Info(version, fmt.Sprintf("%s/%s", runtime.GOOS, runtime.GOARCH)), archive); err != nil {
			t.Fatal(err)
		}
	}
	root = filepath.Join(t.TempDir(), "root.json")
	if err := r.Publish(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root, r.Root(), 0o644); err != nil {
		t.Fatal(err)
	}
	return repository, root
}
