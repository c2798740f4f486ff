package client_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnotherModuleCanUseTheClient: a program of another module, which may import nothing
// of banger/internal, compiles with this checkout in the place of banger, and runs.
func TestAnotherModuleCanUseTheClient(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join("testdata", "outside", "main.go")
	for from, to := range map[string]string{program: "main.go", filepath.Join(root, "go.sum"): "go.sum"} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	module := "module example.com/outside\n\ngo 1.26.0\n\nrequire banger v0.0.0\n\nreplace banger => " + root + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(dir, "outside")
	build := exec.Command("go", "build", "-o", built, ".")
	build.Dir = dir
	// Nothing is downloaded: the modules that the client needs are those of this module.
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	said, err := exec.Command(built, filepath.Join(dir, "bangerd.sock")).CombinedOutput()
	if err == nil || !strings.Contains(string(said), "the daemon is not running") {
		t.Errorf("without a daemon it says: %v\n%s", err, said)
	}
}
