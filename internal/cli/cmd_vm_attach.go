package cli

import (
	"context"
	"slices"

	"banger/api"
	"banger/client"
	"banger/internal/idref"

	"github.com/spf13/cobra"
)

func newVMAttach(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "attach NAME [ID]",
		Short: "Attach to a command or shell that runs in a VM",
		Long: `Attach to a command or shell that runs in a VM: to a detached one, or to one of
another terminal, whose client then ends with a message. Output begins where the
previous client stopped reading. While nobody is attached, the newest 256 KiB of
each stream are buffered, and the command never waits. "banger vm sessions" lists
the ids; the first four digits or more of one are enough, and no id is needed if
there is only one session.

The exit status is the command's, or 125 if banger itself failed. Ctrl-] d detaches
from a terminal session, which keeps running. A session without a terminal that was
detached before also keeps running after Ctrl-C; any other gets the signal, as with
"banger vm exec".`,
		Example:           "  banger vm attach dev\n  banger vm attach dev 3f9a",
		Args:              arguments(1, 2, "the name of a VM and the id of a session"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return own(err)
			}
			s, err := findSession(cmd.Context(), c, args[0], append(args, "")[1])
			if err != nil {
				return own(err)
			}
			return a.sessions().attach(cmd.Context(), c.Guest(args[0]), s)
		},
	}
}

// findSession returns the command or shell whose id begins with id, or the only one if
// id is empty.
func findSession(ctx context.Context, c *client.Client, vm, id string) (api.Session, error) {
	list, err := c.VMs().Sessions(ctx, vm)
	if err != nil {
		return api.Session{}, err
	}
	ids := make([]string, len(list))
	var attachable []api.Session
	for i, s := range list {
		if ids[i] = s.ID; s.Kind == "exec" || s.Kind == "shell" {
			attachable = append(attachable, s)
		}
	}
	if id == "" {
		return onlySession(attachable, vm)
	}
	at := slices.Index(ids, id)
	if at < 0 {
		at, err = idref.Find("sessions", id, ids, func(i int) string { return ids[i] + ", of kind " + list[i].Kind })
	}
	switch {
	case err != nil:
		return api.Session{}, api.AsError(err).WithHint("banger vm sessions %s", vm)
	case at < 0:
		return api.Session{}, api.Errorf(api.KindNotFound, "no session %q in %s", id, vm).WithHint("banger vm sessions %s", vm)
	case list[at].Kind != "exec" && list[at].Kind != "shell":
		return api.Session{}, api.Errorf(api.KindInvalid, "cannot attach to session %s: it is not a command or shell, but of kind %s", ids[at], list[at].Kind)
	}
	return list[at], nil
}

// onlySession returns the only command or shell, for an attach without an id.
func onlySession(all []api.Session, vm string) (api.Session, error) {
	switch len(all) {
	case 1:
		return all[0], nil
	case 0:
		return api.Session{}, api.Errorf(api.KindNotFound, "no command or shell of a client runs in %s", vm).
			WithHint("banger vm shell %s", vm)
	}
	return api.Session{}, api.Errorf(api.KindInvalid, "%s has %d sessions: give the id of one", vm, len(all)).
		WithHint("banger vm sessions %s", vm)
}
