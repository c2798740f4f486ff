package cli

import (
	"bufio"
	"context"
	"io"

	"banger/api"

	"github.com/spf13/cobra"
)

func newImageExport(a *app) *cobra.Command {
	e := export{a: a}
	cmd := &cobra.Command{
		Use:   "export IMAGE [FILE]",
		Short: "Write an image to a file or standard output",
		Long: `Write an image to a file, or to standard output if FILE is - or absent. The
format is

  oci     an OCI layout of one layer in a tar archive, with the image's
          configuration, history and name: for skopeo, podman, nerdctl, and
          ` + "`banger image import`" + `
  docker  the same for ` + "`docker load`" + `
  tar     the root file system alone
  ext4    the root file system as it is, a file with holes

All formats keep owners, modes, times, links, devices, extended attributes and
capabilities; exporting an image twice gives the same bytes. The file appears when
it is complete: an export that fails or is interrupted leaves nothing.`,
		Example: `  banger image export alpine alpine.tar
  banger image export --format docker work/app:1 | docker load
  banger image export --format tar alpine | tar -tv
  banger image export --format ext4 --force alpine alpine.ext4`,
		Args:              arguments(1, 2, "an image and one file at most"),
		ValidArgsFunction: completeArgs(1, imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) > 1 {
				file = args[1]
			}
			e.image = args[0]
			return e.run(cmd.Context(), file)
		},
	}
	cmd.Flags().StringVar(&e.format, "format", api.ExportOCI, "oci, docker, tar or ext4")
	cmd.Flags().BoolVarP(&e.force, "force", "f", false, "replace FILE if it exists")
	return cmd
}

// exportBuffer is the size of one write in bytes: whole blocks, so that blocks of
// zeros are found.
const exportBuffer = 256 << 10

// export is one `image export`.
type export struct {
	a             *app
	image, format string
	force         bool // replace an existing file
}

func (e *export) run(ctx context.Context, file string) error {
	if file == "-" {
		if _, tty := terminal(e.a.std.out); tty {
			return api.Errorf(api.KindInvalid, "cannot write an image to a terminal").WithHint("banger image export %s FILE", e.image)
		}
		return e.copy(ctx, e.a.std.out)
	}
	out, err := createFile(file, e.force)
	if err != nil {
		return err
	}
	err = out.finish(e.copy(ctx, out))
	if api.KindOf(err) == api.KindCanceled {
		err = api.Errorf(api.KindCanceled, "cancelled, %s", nothingLeft)
	}
	return err
}

// copy writes the image to w and shows the progress.
func (e *export) copy(ctx context.Context, w io.Writer) error {
	c, err := e.a.client()
	if err != nil {
		return err
	}
	p := e.a.std.newProgress()
	p.report(api.Progress{Step: "image", Message: "reading the image"})
	out := bufio.NewWriterSize(w, exportBuffer)
	left, err := c.Images().Export(ctx, e.image, e.format, out, p.report)
	if err == nil {
		err = out.Flush()
	}
	p.done()
	if err != nil {
		return err
	}
	if left > 0 {
		e.a.std.note("left out %s: archives cannot store sockets", plural(left, "socket"))
	}
	return nil
}
