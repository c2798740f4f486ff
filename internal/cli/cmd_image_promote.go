package cli

import (
	"context"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newImagePromote(a *app) *cobra.Command {
	name := ""
	cmd := &cobra.Command{
		Use:   "promote IMAGE|VM",
		Short: "Copy a registered image, or create an image from a stopped VM",
		Long: `Copy a registered image, so that it needs its files no longer. What is copied is
compared with what was registered. The copy takes the name of the image, unless
--name gives it another one. VMs of the registered image keep using what they have.

With the name of a stopped VM, create an image from its disk: the same as
"banger vm commit VM IMAGE", with the VM's name as IMAGE unless --name gives another
one.`,
		Example: `  banger image promote work
  banger image promote work --name work-copy
  banger image promote dev --name dev-ready`,
		Args: arguments(1, 1, "an image or a VM"),
		ValidArgsFunction: completeArgs(1, func() []string {
			return append(registeredNames(), vmNames()...)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ofVM, err := isVM(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			var image api.Image
			if ofVM {
				if name == "" {
					name = args[0]
				}
				image, err = c.VMs().Commit(cmd.Context(), args[0], api.CommitVM{Name: name}, p.report)
			} else {
				image, err = c.Images().Promote(cmd.Context(), api.PromoteImage{Image: args[0], Name: name}, p.report)
			}
			p.done()
			if err != nil {
				return err
			}
			if name != "" {
				return a.std.printMade([]string{name}, image.Digest)
			}
			return a.std.printMade([]string{args[0]}, image.Digest)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the new image (default: the name of the image or VM)")
	return cmd
}

// isVM reports whether a name is that of a VM and not of an image. What both have is refused, unless only the
// VM can be promoted.
func isVM(ctx context.Context, c *client.Client, name string) (bool, error) {
	vm, err := c.VMs().Show(ctx, name)
	switch api.KindOf(err) {
	case "":
	case api.KindNotFound:
		return false, nil
	default:
		return false, err
	}
	image, err := c.Images().Show(ctx, name)
	switch {
	case api.KindOf(err) == api.KindNotFound:
		return true, nil
	case err == nil && vm.Name != name: // its id only begins so
		return false, nil
	case err == nil && image.Registered != nil:
		return false, api.Errorf(api.KindInvalid, "%q is an image and a VM", name).
			WithHint("banger vm commit %s IMAGE   for the VM, or the image's digest: banger image show %s", name, name)
	}
	return err == nil, err
}

// registeredNames are the names of the registered images.
func registeredNames() []string {
	return completing(func(ctx context.Context, c *client.Client) (names []string) {
		images, _ := c.Images().List(ctx) // no names if it fails
		for _, image := range images {
			if image.Registered != nil {
				names = append(names, image.Names...)
			}
		}
		return names
	})
}
