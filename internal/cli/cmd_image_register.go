package cli

import (
	"path/filepath"

	"banger/api"

	"github.com/spf13/cobra"
)

func newImageRegister(a *app) *cobra.Command {
	var req api.RegisterImage
	cmd := &cobra.Command{
		Use:   "register NAME --rootfs FILE",
		Short: "Create an image of files that stay where they are",
		Long: `Create an image of an ext4 file, and of a kernel with its modules, that stay where
they are. Disks of VMs are made over the file itself; it is neither copied nor
written to. A disk grows to its size when the VM starts.

banger records what each file is, and looks at each start of a VM whether it still
is. If a file has changed, is gone, or was replaced by a link, the start is refused.
Without --kernel, VMs get the default kernel. "banger image promote" makes a copy
that needs the files no longer; "banger image delete" forgets the image, and never
touches the files.`,
		Example: `  banger image register work --rootfs /srv/work.ext4
  banger image register work --rootfs /srv/work.ext4 --kernel /srv/vmlinuz-6.12 --modules /srv/lib/modules/6.12`,
		Args: arguments(1, 1, "the name of the image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = args[0]
			if req.Rootfs == "" {
				return usagef(cmd, "%s needs --rootfs FILE", cmd.CommandPath())
			}
			for _, path := range []*string{&req.Rootfs, &req.Kernel, &req.Modules, &req.Initrd} {
				if *path == "" {
					continue
				}
				abs, err := filepath.Abs(*path) // the daemon works in another directory
				if err != nil {
					return api.Errorf(api.KindInvalid, "cannot find %s: %w", *path, err)
				}
				*path = abs
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			image, err := c.Images().Register(cmd.Context(), req, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printMade([]string{req.Name}, image.Digest)
		},
	}
	cmd.Flags().StringVar(&req.Rootfs, "rootfs", "", "the root file system: an ext4 `FILE`")
	cmd.Flags().StringVar(&req.Kernel, "kernel", "", "the kernel: a vmlinux or vmlinuz `FILE` (default: the default kernel)")
	cmd.Flags().StringVar(&req.Modules, "modules", "", "the kernel's modules: a /lib/modules/RELEASE `DIRECTORY`")
	cmd.Flags().StringVar(&req.Initrd, "initrd", "", "is refused: banger makes the initramfs from the kernel, its modules and the agent")
	return cmd
}
