package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newKernel(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "kernel",
		Short:   "Get and remove guest kernels",
		Example: "  banger kernel list\n  banger kernel pull",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newKernelList(a), newKernelPull(a), newKernelImport(a), newKernelShow(a), newKernelDelete(a))
	return cmd
}

func newKernelList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the kernels in the cache",
		Example: "  banger kernel list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			kernels, err := c.Kernels().List(cmd.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(a.out, "kernels", append([]api.Kernel{}, kernels...))
			case len(kernels) == 0:
				a.note("no kernels yet; `banger kernel pull` gets the distribution's")
				return nil
			}
			return kernelTable(kernels, time.Now()).write(a.out)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func kernelTable(kernels []api.Kernel, now time.Time) *table {
	t := newTable("NAME", "RELEASE", "DIGEST", "SIZE", "CREATED", "USED BY", "SOURCE")
	for _, k := range kernels {
		t.add(names(k.Names), k.Release, short(k.Digest), size.Format(k.SizeBytes), ago(now, k.CreatedAt), users(k.UsedBy), k.Source)
	}
	return t
}

func newKernelPull(a *app) *cobra.Command {
	var refresh bool
	cmd := &cobra.Command{
		Use:   "pull",
		Short: "Get the distribution's kernel for virtual machines",
		Long: `Get the distribution's kernel for virtual machines as a package, through this
machine's package manager, which checks its signature. Nothing is installed on this
machine.`,
		Example: "  banger kernel pull\n  banger kernel pull --refresh",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.newProgress()
			kernel, err := c.Kernels().Pull(cmd.Context(), api.PullKernel{Refresh: refresh}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.printMade(kernel.Names, kernel.Digest)
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "look for a newer one")
	return cmd
}

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
			p := a.newProgress()
			kernel, err := c.Kernels().Import(cmd.Context(), req, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.printMade(kernel.Names, kernel.Digest)
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

func newKernelShow(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "show NAME...",
		Short:             "Show a kernel in detail",
		Example:           "  banger kernel show 6.1.0-37-cloud-amd64",
		Args:              arguments(1, -1, "the name of a kernel"),
		ValidArgsFunction: a.completeArgs(-1, a.kernelNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return showAll(a, args, asJSON, "kernel", "kernels",
				func(name string) (api.Kernel, error) { return c.Kernels().Show(cmd.Context(), name) },
				func(k api.Kernel) error {
					return fields(a.out, "names", names(k.Names), "release", k.Release, "digest", k.Digest, "source", k.Source,
						"arch", k.Arch, "size", size.Format(k.SizeBytes), "created", moment(&k.CreatedAt),
						"used by", strings.Join(k.UsedBy, ", "))
				})
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func newKernelDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME...",
		Aliases:           []string{"rm"},
		Short:             "Delete kernels",
		Long:              "Delete kernels. A kernel that a VM uses is refused.",
		Example:           "  banger kernel delete mine",
		Args:              arguments(1, -1, "the name of a kernel"),
		ValidArgsFunction: a.completeArgs(-1, a.kernelNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.each(cmd.Context(), args, func(ctx context.Context, name string, _ api.Report) (string, error) {
				return name, c.Kernels().Delete(ctx, name)
			})
		},
	}
}
