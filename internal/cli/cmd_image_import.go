package cli

import (
	"path/filepath"
	"strings"

	"banger/api"

	"github.com/spf13/cobra"
)

func newImageImport(a *app) *cobra.Command {
	which := ""
	cmd := &cobra.Command{
		Use:   "import FILE|DIRECTORY|- [NAME]",
		Short: "Create an image from a file or a directory",
		Long: `Create an image from a file or a directory. It can be

  a root file system: a tar archive, plain or compressed, a directory, or an ext4
  file, plain or compressed, which is taken as it is;
  an image: what ` + "`docker save`" + ` writes, an OCI layout as a directory or an archive,
  or what skopeo calls "dir:", with its configuration. If the image is for several
  platforms, this machine's is imported; if there are several images, --image chooses.

The format is detected. Any root file system works unmodified. Files in a directory
that belong to you become root's. The default NAME is the file's name; standard
input (-) and pipes need a NAME.`,
		Example: `  banger image import alpine-minirootfs.tar.gz alpine
  docker save --output app.tar app && banger image import app.tar
  docker save app | banger image import - app`,
		Args: arguments(1, 2, "a file and one name at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "-" && len(args) == 1 {
				return usagef(cmd, "standard input (-) needs a NAME")
			}
			path, streamed, remove, err := a.std.seekableFile(args[0])
			if err != nil {
				return err
			}
			defer remove()
			name := nameOf(path)
			switch {
			case len(args) > 1:
				name = args[1]
			case streamed:
				return usagef(cmd, "the pipe %s needs a NAME", args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.std.newProgress()
			image, err := c.Images().Import(cmd.Context(), api.ImportImage{Path: path, Name: name, Image: which}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.std.printMade([]string{name}, image.Digest)
		},
	}
	cmd.Flags().StringVar(&which, "image", "", "the image to import if FILE has several: its name in FILE, or its digest")
	return cmd
}

// nameOf returns the image name for a file name: "alpine-3.20" for
// "Alpine-3.20.tar.gz".
func nameOf(path string) string {
	name := strings.ToLower(filepath.Base(path))
	for _, ending := range []string{".gz", ".xz", ".zst", ".bz2", ".lz4", ".tgz", ".txz", ".tar", ".ext4", ".img"} {
		name = strings.TrimSuffix(name, ending)
	}
	return name
}
