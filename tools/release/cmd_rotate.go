package main

import (
	"strings"

	"banger/api"
	"banger/tools/release/repository"

	"github.com/spf13/cobra"
)

func rotateCommand() *cobra.Command {
	var n repository.Rotation
	var add []string
	var draft string
	c, p := repositoryCommand("rotate-root", "Make the next root: with a later expiry, or with other keys",
		"rotate-root --keys /media/root-1 --keys /media/root-2 --remove keys/root-3.pub --add root=keys/root-4.pub", "", nil)
	c.Flags().StringArrayVar(&add, "add", nil, "ROLE=FILE: trust this public key for a role")
	c.Flags().StringArrayVar(&n.Remove, "remove", nil, "stop trusting this key: the file of its public half, or at least eight digits of its id")
	c.Flags().StringToIntVar(&n.Threshold, "threshold", nil, "ROLE=N: the number of keys that have to sign it")
	c.Flags().StringVar(&draft, "draft", "", "keep the root in this file until enough keys have signed it, here or elsewhere")
	c.RunE = func(*cobra.Command, []string) error {
		if err := named(&n, add); err != nil {
			return err
		}
		return p.run(nil, func(r *repository.Repository, keys repository.Keys) error {
			done, err := r.Rotate(n, keys, draft)
			switch {
			case err != nil:
				return err
			case done:
				say("the new root is in " + p.dir)
			default:
				say("signed " + draft + "; it needs more root keys: the same command with --draft and --keys only")
			}
			return nil
		})
	}
	return c
}

// named completes a rotation with the keys that the command line names by file.
func named(n *repository.Rotation, add []string) error {
	for _, a := range add {
		role, file, found := strings.Cut(a, "=")
		if !found {
			return api.Errorf(api.KindInvalid, "cannot add key %q: its role is missing", a).WithHint("--add root=keys/root-4.pub")
		}
		n.Add = append(n.Add, repository.RoleKey{Role: role, File: file})
	}
	for i, key := range n.Remove {
		if !strings.HasSuffix(key, ".pub") {
			continue
		}
		var err error
		if _, n.Remove[i], err = repository.LoadPublic(key); err != nil {
			return err
		}
	}
	return nil
}
