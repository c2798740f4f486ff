package guests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/test/harness"
)

// masked is what an image is better without that boots in an emulated guest: no test is about it, and
// each costs seconds.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"fstrim.timer", "getty@tty1.service", "systemd-pstore.service",
}

// Distribution returns a tar of the machine's own distribution, minbase with more packages. It is
// made once for each name and list of packages, and not again when these have newer versions.
func Distribution(ctx context.Context, name string, packages []string) (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	recipe := fmt.Sprint(packages, masked, string(release))
	dir, err := harness.Once(name+"-archive", recipe, func(dir string) error { return bootstrap(ctx, dir, name+".tar", packages) })
	return filepath.Join(dir, name+".tar"), err
}

// bootstrap makes dir/file, as an ordinary user in a user namespace.
func bootstrap(ctx context.Context, dir, file string, packages []string) error {
	packager := apt.New(filepath.Join(dir, "apt"))
	if err := packager.Update(ctx, false, func(api.Progress) {}); err != nil {
		return err
	}
	sources, err := packager.Sources(ctx)
	if err != nil {
		return err
	}
	sources = slices.DeleteFunc(sources, func(s apt.Source) bool { return strings.HasPrefix(s.URI, "cdrom:") })
	options, err := packager.AcquireOptions(ctx)
	if err != nil {
		return err
	}
	conf, list := filepath.Join(dir, "apt.conf"), filepath.Join(dir, "banger.sources")
	// In a user namespace apt's own user may not enter our directories.
	options = append(options, `APT::Sandbox::User "root";`)
	err = errors.Join(os.WriteFile(conf, []byte(strings.Join(options, "\n")+"\n"), 0o644),
		os.WriteFile(list, []byte(apt.Deb822(sources)), 0o644))
	if err != nil {
		return err
	}
	mode, command := "unshare", []string{"mmdebstrap"}
	if os.Getuid() == 0 { // its mounts are to end with it
		mode, command = "root", []string{"unshare", "--mount", "mmdebstrap"}
	}
	scratch, err := os.MkdirTemp("", "banger-"+strings.TrimSuffix(file, ".tar")+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o777); err != nil { // mmdebstrap works there as a subordinate id
		return err
	}
	out, err := os.Create(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	err = execx.Run(ctx, execx.Cmd{
		Name: command[0], Package: "mmdebstrap", Dir: dir, Stdout: out,
		Env: []string{"TMPDIR=" + scratch, "DEBIAN_FRONTEND=noninteractive"},
		Args: append(command[1:],
			"--mode="+mode, "--variant=minbase", "--format=tar", "--aptopt="+conf, "--dpkgopt=force-unsafe-io",
			"--include="+strings.Join(packages, ","),
			"--customize-hook=cd \"$1/etc/systemd/system\" && for unit in "+strings.Join(masked, " ")+"; do ln -sf /dev/null $unit; done",
			"--customize-hook=rm -rf \"$1\"/usr/share/doc/* \"$1\"/usr/share/man/* \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin",
			shortestSuite(sources), "-", list),
	})
	return errors.Join(err, out.Close(), os.RemoveAll(filepath.Join(dir, "apt")), os.Remove(conf), os.Remove(list))
}

// shortestSuite is the name of the release among suites such as bookworm-updates.
func shortestSuite(sources []apt.Source) string {
	return slices.MinFunc(sources, func(a, b apt.Source) int { return len(a.Suite) - len(b.Suite) }).Suite
}
