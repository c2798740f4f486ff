package main

import (
	"os"

	"banger/api"
	"banger/tools/release/dist"
	"banger/tools/release/repository"

	"github.com/spf13/cobra"
)

// place holds the flags that select a repository, keys, and validity.
type place struct {
	dir    string
	keys   []string
	expiry repository.Expiry
}

// repositoryCommand is a command that changes a repository, and reports it.
func repositoryCommand(use, short, example, done string, do func(*repository.Repository, repository.Keys) error) (*cobra.Command, *place) {
	p := &place{}
	c := &cobra.Command{
		Use: use, Short: short, Example: "  go run ./tools/release " + example, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			err := p.run(nil, do)
			if err == nil {
				say(done + " in " + p.dir)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&p.dir, "repository", "repository", "the directory that the server serves")
	f.StringArrayVar(&p.keys, "keys", []string{"keys"}, "a directory with private keys; may be repeated")
	d := repository.DefaultExpiry
	f.DurationVar(&p.expiry.Root, "root-valid", d.Root, "how long a new root is valid")
	f.DurationVar(&p.expiry.Targets, "targets-valid", d.Targets, "how long new targets are valid")
	f.DurationVar(&p.expiry.Snapshot, "snapshot-valid", d.Snapshot, "how long a new snapshot is valid")
	f.DurationVar(&p.expiry.Timestamp, "timestamp-valid", d.Timestamp, "how long a new timestamp is valid")
	return c, p
}

func (p *place) run(root []byte, do func(*repository.Repository, repository.Keys) error) error {
	keys, err := repository.LoadKeys(p.keys...)
	if err != nil {
		return err
	}
	r, err := repository.Open(p.dir, repository.Options{Expiry: p.expiry, Root: root})
	if err != nil {
		return err
	}
	defer r.Close()
	return do(r, keys)
}

func publishCommand() *cobra.Command {
	var version, from, rootFile string
	var downgradeFrom []string
	c, p := repositoryCommand("publish", "Offer a release to all hosts",
		"publish --version v1.2.3 --dist dist/v1.2.3", "", nil)
	c.Flags().StringVar(&version, "version", "", "the release")
	c.Flags().StringVar(&from, "dist", "", "the release's files (default: dist/VERSION)")
	c.Flags().StringVar(&rootFile, "root", "", "the first root, to create a repository")
	c.Flags().StringSliceVar(&downgradeFrom, "downgrade-from", nil, "newer versions that a host may downgrade to this one")
	c.RunE = func(*cobra.Command, []string) error {
		if from == "" {
			from = "dist/" + version
		}
		_, archives, err := dist.Read(from, version)
		if err != nil {
			return err
		}
		var root []byte
		if rootFile != "" {
			if root, err = os.ReadFile(rootFile); err != nil {
				return api.AsError(err)
			}
		}
		err = p.run(root, func(r *repository.Repository, keys repository.Keys) error {
			return r.Publish(archives, downgradeFrom, keys)
		})
		if err == nil {
			say(version + " is offered in " + p.dir)
		}
		return err
	}
	return c
}

func withdrawCommand() *cobra.Command {
	var version string
	c, _ := repositoryCommand("withdraw", "Stop offering a release", "withdraw --version v1.2.3", "the release is not offered any more",
		func(r *repository.Repository, keys repository.Keys) error { return r.Withdraw(version, keys) })
	c.Flags().StringVar(&version, "version", "", "the release")
	return c
}

func renewCommand() *cobra.Command {
	c, _ := repositoryCommand("renew", "Sign targets, snapshot and timestamp again, unchanged", "renew", "targets, snapshot and timestamp are signed again",
		(*repository.Repository).Renew)
	return c
}

func timestampCommand() *cobra.Command {
	c, _ := repositoryCommand("timestamp", "Sign the timestamp again, with only the online key", "timestamp --keys /etc/banger-release", "the timestamp is signed again",
		(*repository.Repository).Timestamp)
	return c
}

func statusCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "status", Short: "Show a repository's releases, its keys, and their expiry", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := repository.Open(dir, repository.Options{})
			if err != nil {
				return err
			}
			defer r.Close()
			return r.Status(os.Stdout)
		},
	}
	c.Flags().StringVar(&dir, "repository", "repository", "the directory that the server serves")
	return c
}
