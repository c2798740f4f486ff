package main

import (
	"os"
	"path/filepath"

	"banger/api"
	"banger/tools/release/dist"

	"github.com/spf13/cobra"
)

func buildCommand() *cobra.Command {
	var version, rootFile, out string
	o := dist.Options{Report: say}
	c := &cobra.Command{
		Use: "build", Short: "Build a release of the commit that is checked out", Args: cobra.NoArgs,
		Example: "  make release VERSION=v1.2.3 ROOT=root.json REPOSITORY=https://banger.example/update",
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if rootFile != "" {
				if o.Root, err = os.ReadFile(rootFile); err != nil {
					return api.AsError(err)
				}
			}
			if o.Source, err = dist.Checkout(c.Context(), ".", version); err != nil {
				return err
			}
			if o.Root == nil {
				say("without a root of trust (ROOT=…, REPOSITORY=…), this build cannot update itself")
			}
			o.Out = filepath.Join(out, version)
			if err := dist.Build(c.Context(), o); err != nil {
				return err
			}
			say("made " + o.Out)
			return nil
		},
	}
	c.Flags().StringVar(&version, "version", "", "the version: vX.Y.Z")
	c.Flags().StringVar(&rootFile, "root", "", "the update repository's root.json, for the programs to trust")
	c.Flags().StringVar(&o.Repository, "repository", "", "the update repository's URL")
	c.Flags().StringVar(&o.Download, "download", "", "the URL of the release's files, for install.sh")
	c.Flags().StringVar(&out, "out", "dist", "make the directory VERSION in this one")
	return c
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check DIRECTORY", Short: "Build a release again, from a clone and with an empty cache, and compare", Args: cobra.ExactArgs(1),
		Example: "  make release-check VERSION=v1.2.3",
		RunE: func(c *cobra.Command, args []string) error {
			if err := dist.Rebuild(c.Context(), ".", args[0], say); err != nil {
				return err
			}
			say("every file of " + args[0] + " was made again, byte for byte")
			return nil
		},
	}
}
