package cli

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"

	"banger/api"
	"banger/internal/cli/sshconfig"
	"banger/internal/host/execx"
	"banger/internal/paths"

	"github.com/spf13/cobra"
)

func newSSHConfig(a *app) *cobra.Command {
	var install, uninstall bool
	cmd := &cobra.Command{
		Use:   "ssh-config",
		Short: "Let ssh, scp, sftp, rsync, git and editors reach VMs as NAME.banger",
		Long: `Print the ssh configuration that reaches running VMs as NAME.banger. --install
writes it to ~/.ssh/banger_config and includes that at the top of ~/.ssh/config;
--uninstall removes both and leaves your own configuration as it was. NAME.vm is
the same.`,
		Example: `  banger ssh-config --install
  ssh dev.banger
  rsync -a src/ dev.banger:src/
  git clone dev.banger:project
  banger ssh-config --uninstall`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if install && uninstall {
				return usagef(cmd, "use --install or --uninstall, not both")
			}
			if uninstall {
				return sshConfig{a.std}.uninstall()
			}
			text, err := sshConfigText()
			if err != nil {
				return err
			}
			if install {
				return sshConfig{a.std}.install(cmd.Context(), text)
			}
			_, err = io.WriteString(a.std.out, text)
			return err
		},
	}
	cmd.Flags().BoolVar(&install, "install", false, "include it in ~/.ssh/config")
	cmd.Flags().BoolVar(&uninstall, "uninstall", false, "remove it from ~/.ssh/config")
	return cmd
}

// sshConfigText returns the ssh configuration for all VMs.
func sshConfigText() (string, error) {
	p, err := paths.Choose()
	if err != nil {
		return "", err
	}
	self, err := sshSelf(pinnedHome(p))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("Host *" + sshDomain + " *" + sshResolved + "\n")
	for _, o := range append([]sshOption{{"User", "root"}}, sshOptions(self)...) {
		b.WriteString("    " + o.name + " " + o.value + "\n")
	}
	return b.String(), nil
}

// sshConfig changes the user's ssh configuration, and says so.
type sshConfig struct{ std *streams }

func sshFiles() (sshconfig.Files, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return sshconfig.Files{}, api.Errorf(api.KindInvalid, "cannot find your home directory: %w", err).WithHint("set HOME")
	}
	return sshconfig.In(home), nil
}

func (s sshConfig) install(ctx context.Context, text string) error {
	files, err := sshFiles()
	if err != nil {
		return err
	}
	changed, err := files.Install(text, func(path string) error { return sshTakes(ctx, path) })
	if err != nil {
		return err
	}
	if changed {
		s.std.note("%s now includes %s", files.User, files.Ours)
	} else {
		s.std.note("%s already includes %s", files.User, files.Ours)
	}
	s.std.note("ssh, scp, sftp, rsync, git and editors reach running VMs as NAME%s", sshDomain)
	return nil
}

func (s sshConfig) uninstall() error {
	files, err := sshFiles()
	if err != nil {
		return err
	}
	changed, err := files.Uninstall()
	if err != nil {
		return err
	}
	if changed {
		s.std.note("removed banger's line from %s, and the file %s", files.User, files.Ours)
	} else {
		s.std.note("%s does not include banger's configuration", files.User)
	}
	return nil
}

// sshTakes returns an error if ssh cannot read a configuration. If ssh is not
// installed, it returns nil.
func sshTakes(ctx context.Context, path string) error {
	if _, err := exec.LookPath("ssh"); err != nil {
		return nil
	}
	return execx.Run(ctx, execx.Cmd{Name: "ssh", Args: []string{"-G", "-F", path, "any" + sshDomain}})
}
