// Package guests has the real programs with real guests, for tests: what `make build`
// makes, the distribution's kernel, and images.
package guests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"banger/test/harness"
)

// Settings is config.toml. Emulated guests on a busy machine are slow.
const Settings = `image = "tiny"
vcpus = 1
memory = "256M"
disk = "512M"
boot_timeout = "2m"
grace = "30s"
`

// Build makes the programs in dir, as make build does.
func Build(ctx context.Context, dir string) error {
	for _, program := range []string{"banger", "bangerd", "banger-agent"} {
		if _, err := harness.Build(ctx, dir, program); err != nil {
			return err
		}
	}
	return nil
}

// Home is a home with the distribution's kernel, the default image, and one, tiny, that has
// nothing but busybox in it. It is made once on this machine, by the banger of PATH.
func Home(ctx context.Context) (string, error) {
	recipe, err := harness.Sources(ctx, "internal/digeststore", "internal/image", "internal/image/distro", "internal/image/rootfs", "internal/image/tarball", "internal/kernel", "internal/host/apt", "internal/host/userns", "test/harness")
	if err != nil {
		return "", err
	}
	return harness.Once("home-real", recipe, func(dir string) error { return fill(ctx, dir) })
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
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(Settings), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"kernel", "pull"}, {"image", "import", archive, "tiny"}, {"image", "pull", "debian"},
		{"daemon", "stop"},
	} {
		if err := Run(ctx, home, args...); err != nil {
			return err
		}
	}
	// What was fetched is unpacked by now, and scripts need not copy it.
	return os.RemoveAll(filepath.Join(home, "cache", "apt"))
}

// Run runs banger with a home; its error has what banger said.
func Run(ctx context.Context, home string, args ...string) error {
	cmd := exec.CommandContext(ctx, "banger", args...)
	cmd.Env = append(os.Environ(), "BANGER_HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("banger %v: %w\n%s", args, err, out)
	}
	return nil
}
