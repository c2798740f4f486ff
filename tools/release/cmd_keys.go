package main

import (
	"time"

	"banger/tools/release/repository"

	"github.com/spf13/cobra"
)

func keysCommand() *cobra.Command {
	var only string
	var rootKeys, threshold int
	var valid time.Duration
	c := &cobra.Command{
		Use: "keys DIRECTORY", Short: "Make the keys of an update repository, and its first root", Args: cobra.ExactArgs(1),
		Example: "  go run ./tools/release keys keys\n  go run ./tools/release keys keys --only timestamp",
		RunE: func(_ *cobra.Command, args []string) error {
			if only != "" {
				return oneKey(args[0], only)
			}
			if err := repository.Create(args[0], rootKeys, threshold, valid, time.Now()); err != nil {
				return err
			}
			say("made keys and " + repository.RootFile + " in " + args[0])
			say("now move the root keys elsewhere, each to a separate medium: root-*.pem")
			return nil
		},
	}
	c.Flags().StringVar(&only, "only", "", "make one more key, for this role, and no root")
	c.Flags().IntVar(&rootKeys, "root-keys", 3, "the number of root keys")
	c.Flags().IntVar(&threshold, "threshold", 2, "how many of them have to sign a root")
	c.Flags().DurationVar(&valid, "valid", repository.DefaultExpiry.Root, "how long the root is valid")
	return c
}

func oneKey(dir, role string) error {
	path, err := repository.NewKey(dir, role)
	if err != nil {
		return err
	}
	_, id, err := repository.LoadPublic(path)
	if err != nil {
		return err
	}
	say("made " + path + " and the private half beside it: " + id)
	return nil
}
