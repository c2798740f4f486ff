package worktest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/host/fsx"
)

// OraclePackage is the program of the specification's authors. It needs Docker for a container, and
// none to say what it would do.
const OraclePackage = "@devcontainers/cli@0.89.0"

// Oracle returns the path of that program, which is kept from one run to the next. The test is one of a
// package three directories below the repository's.
func Oracle(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT RUN: " + OraclePackage + ", with -short")
	}
	for _, name := range []string{"npm", "node"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("NOT RUN: %s: this machine has no %s", OraclePackage, name)
		}
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, ".cache", "npm", strings.NewReplacer("@", "", "/", "-").Replace(OraclePackage))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock")) // tests run side by side
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := fsx.Flock(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "node_modules", "@devcontainers", "cli", "devcontainer.js")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	install := exec.CommandContext(t.Context(), "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", OraclePackage)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: %s: npm could not install it: %v: %.300s", OraclePackage, err, bytes.TrimSpace(out))
	}
	return program
}
