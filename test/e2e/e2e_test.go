package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"banger/test/harness"
	"banger/test/harness/session"
)

// settings is config.toml. Emulated guests on a busy machine are slow.
const settings = `image = "tiny"
vcpus = 1
memory = "256M"
disk = "512M"
boot_timeout = "2m"
grace = "30s"
`

func TestScripts(t *testing.T) {
	programs := build(t)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	home := template(t)
	// A first boot finds out once, for all, whether KVM works here.
	banger(t, home, "vm", "run", "--rm", "--", "true")
	banger(t, home, "daemon", "stop")
	options := session.Options{Dir: "testdata", Template: home, Config: settings, Env: []string{"BYTES=20000000"}}
	options.Idle = session.Measure(t, options)
	session.Run(t, options)
}

// build makes the programs, as make build does.
func build(t *testing.T) string {
	dir := t.TempDir()
	for _, program := range []string{"banger", "bangerd", "banger-agent"} {
		if _, err := harness.Build(t.Context(), dir, program); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// template is a home with the distribution's kernel, the default image, and one
// that has nothing but busybox in it; made once on this machine.
func template(t *testing.T) string {
	ctx := t.Context()
	recipe, err := harness.Sources(ctx, "internal/image", "internal/kernel", "internal/apt", "internal/userns", "test/harness")
	if err != nil {
		t.Fatal(err)
	}
	home, err := harness.Once("home-real", recipe, func(dir string) error { return fill(ctx, dir) })
	if err != nil {
		t.Fatal(err)
	}
	return home
}

// fill makes kernel and images with the real commands.
func fill(ctx context.Context, home string) error {
	parts, err := os.MkdirTemp("", "banger-parts-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(parts)
	archive := filepath.Join(parts, "busybox.tar")
	if err := harness.BusyboxTar(archive); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(settings), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"kernel", "pull"}, {"image", "import", archive, "tiny"}, {"image", "pull", "debian"},
		{"daemon", "stop"},
	} {
		if err := run(ctx, home, args...); err != nil {
			return err
		}
	}
	// What was fetched is unpacked by now, and scripts need not copy it.
	return os.RemoveAll(filepath.Join(home, "cache", "apt"))
}

func run(ctx context.Context, home string, args ...string) error {
	cmd := exec.CommandContext(ctx, "banger", args...)
	cmd.Env = append(os.Environ(), "BANGER_HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("banger %v: %w\n%s", args, err, out)
	}
	return nil
}

func banger(t *testing.T, home string, args ...string) {
	t.Helper()
	if err := run(t.Context(), home, args...); err != nil {
		t.Fatal(err)
	}
}
