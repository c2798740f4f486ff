package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newImage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "image",
		Short:   "Get and remove root file systems",
		Example: "  banger image list\n  banger image pull",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(newImageList(a), newImagePull(a), newImageImport(a), newImageExport(a), newImageShow(a), newImageTag(a), newImageHistory(a), newImageDelete(a), newImagePrune(a))
	return cmd
}

func newImageList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the images in the cache",
		Example: "  banger image list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			images, err := c.Images().List(cmd.Context())
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(a.out, "images", append([]api.Image{}, images...))
			case len(images) == 0:
				a.note("no images yet; `banger image pull` gets the default one")
				return nil
			}
			return imageTable(images, time.Now()).write(a.out)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

func imageTable(images []api.Image, now time.Time) *table {
	t := newTable("NAME", "DIGEST", "SIZE", "CREATED", "USED BY", "SOURCE")
	for _, i := range images {
		t.add(names(i.Names), short(i.Digest), size.Format(i.SizeBytes), ago(now, i.CreatedAt), users(i.UsedBy), i.Source)
	}
	return t
}

func names(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

func users(all []string) string {
	switch len(all) {
	case 0:
		return "-"
	case 1, 2:
		return strings.Join(all, ", ")
	}
	return plural(len(all), "VM")
}

func newImagePull(a *app) *cobra.Command {
	var refresh bool
	cmd := &cobra.Command{
		Use:   "pull [NAME]",
		Short: "Get an image from a registry, or build the distribution's",
		Long: `Get an image from a registry. The default registry is docker.io and the default
tag is latest; the table image_names of the settings defines short names. Only data
that the cache lacks is downloaded, and an interrupted pull continues where it
stopped. Passwords are Docker's: docker login REGISTRY. The setting registry_ca
names the authority of a registry's certificate.

Without NAME, or with the name of this machine's own distribution, build the image
from the distribution's packages, unless the cache has a current one. The packages
come from this machine's own package sources, and their signatures are checked.`,
		Example: `  banger image pull alpine:3.20
  banger image pull registry.example.com/owner/image:tag
  banger image pull
  banger image pull --refresh debian`,
		Args:              arguments(0, 1, "one name at most"),
		ValidArgsFunction: a.completeArgs(1, a.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if name == "" {
				shown, _, err := a.settings(cmd.Context(), c)
				if err != nil {
					return err
				}
				name = valueOf(shown, "image")
			}
			p := a.newProgress()
			image, err := c.Images().Pull(cmd.Context(), api.PullImage{Name: name, Refresh: refresh}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.printMade(image.Names, image.Digest)
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "build the distribution's again even if it is in the cache")
	return cmd
}

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
			path, streamed, remove, err := a.seekableFile(args[0])
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
			p := a.newProgress()
			image, err := c.Images().Import(cmd.Context(), api.ImportImage{Path: path, Name: name, Image: which}, p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.printMade([]string{name}, image.Digest)
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

// printMade prints the name of the image that was made.
func (a *app) printMade(names []string, digest string) error {
	name := digest
	if len(names) > 0 {
		name = names[0]
	}
	_, err := fmt.Fprintln(a.out, name)
	return err
}

func newImageShow(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "show NAME...",
		Short:             "Show an image in detail",
		Example:           "  banger image show debian",
		Args:              arguments(1, -1, "the name of an image"),
		ValidArgsFunction: a.completeArgs(-1, a.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return showAll(a, args, asJSON, "image", "images",
				func(name string) (api.Image, error) { return c.Images().Show(cmd.Context(), name) },
				func(i api.Image) error {
					return fields(a.out, append([]string{"names", names(i.Names), "digest", i.Digest, "source", i.Source, "arch", i.Arch,
						"size", size.Format(i.SizeBytes), "smallest disk", size.Format(i.DiskBytes),
						"created", moment(&i.CreatedAt), "reference", i.Reference, "manifest", i.Manifest, "layers", layers(i.Layers), "used by", strings.Join(i.UsedBy, ", ")}, configFields(i.Config)...)...)
				})
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}

// layers summarizes an image's layers for people.
func layers(all []api.ImageLayer) string {
	if len(all) == 0 {
		return ""
	}
	var total int64
	for _, l := range all {
		total += l.SizeBytes
	}
	return fmt.Sprintf("%d, %s unpacked", len(all), size.Format(total))
}

func newImageDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME...",
		Aliases:           []string{"rm"},
		Short:             "Delete images",
		Long:              "Delete images. An image that a VM uses is refused.",
		Example:           "  banger image delete alpine",
		Args:              arguments(1, -1, "the name of an image"),
		ValidArgsFunction: a.completeArgs(-1, a.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.each(cmd.Context(), args, func(ctx context.Context, name string, _ api.Report) (string, error) {
				return name, c.Images().Delete(ctx, name)
			})
		},
	}
}

func newImagePrune(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete nameless images, and kernels and layers that nothing uses",
		Long: `Delete images that have neither a name nor a VM, copies of images in sizes that
no VM has, and kernels and layers that nothing uses. Images with a name stay;
"banger image delete" deletes those.`,
		Example: "  banger image prune",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p := a.newProgress()
			pruned, err := c.Images().Prune(cmd.Context(), p.report)
			p.done()
			if err != nil {
				return err
			}
			return a.printPruned(pruned, asJSON)
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
