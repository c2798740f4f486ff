package cli

import (
	"os"
	"path/filepath"

	"banger/api"

	"github.com/spf13/cobra"
)

func newKernelImport(a *app) *cobra.Command {
	var req api.ImportKernel
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Create a guest kernel from a file, or from this machine's",
		Long: `Create a guest kernel from a kernel file (vmlinux or vmlinuz) and its directory of
modules, or with --host from the kernel that this machine runs.`,
		Example: `  banger kernel import vmlinuz-6.12.1 --modules /lib/modules/6.12.1 --name mine
  banger kernel import --host`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case req.Host && (len(args) > 0 || req.Modules != ""):
				return usagef(cmd, "--host takes no file and no --modules")
			case !req.Host && len(args) != 1:
				return usagef(cmd, "%s needs one kernel file, or --host", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if len(args) > 0 {
				if req.Path, err = existing(args[0]); err != nil {
					return err
				}
			}
			if req.Modules != "" {
				if req.Modules, err = existing(req.Modules); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			kernel, err := c.Kernels().Import(cmd.Context(), req, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printMade(kernel.Names, kernel.Digest)
		},
	}
	cmd.Flags().StringVar(&req.Modules, "modules", "", "the kernel's modules: a /lib/modules/RELEASE `DIRECTORY`")
	cmd.Flags().StringVar(&req.Name, "name", "", "name (default: the kernel's release)")
	cmd.Flags().BoolVar(&req.Host, "host", false, "use this machine's own kernel and modules")
	return cmd
}

// existing makes a path absolute, because the daemon works in another directory,
// and checks that it exists.
func existing(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if err != nil {
		return "", api.Errorf(api.KindInvalid, "cannot read file: %w", err)
	}
	return abs, nil
}
