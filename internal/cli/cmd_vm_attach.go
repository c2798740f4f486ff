package cli

import (
	"context"
	"strings"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMAttach(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "attach NAME [ID]",
		Short: "Take over a command or shell that runs in a VM",
		Long: `Take over a command or shell that runs in a VM: one that was detached, or one of
another terminal, whose client ends and says so. Output begins where the earlier
client had read to; while nobody was attached the newest 256 KiB of each stream
are kept, and the command never waits. "banger vm sessions" lists the ids; the
beginning of one is enough, and none where there is only one to choose.

The status is the command's, or 125 where banger itself failed. Ctrl-] d leaves a
terminal's session to go on by itself. A session without a terminal that was
detached before goes on after Ctrl-C too; any other gets the signal, as with
"banger vm exec".`,
		Example:           "  banger vm attach dev\n  banger vm attach dev 3f9a",
		Args:              arguments(1, 2, "the name of a VM and the id of a session"),
		ValidArgsFunction: a.completeArgs(1, a.vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return own(err)
			}
			s, err := findSession(cmd.Context(), c, args[0], append(args, "")[1])
			if err != nil {
				return own(err)
			}
			return a.attachTo(cmd.Context(), c.Guest(args[0]), s)
		},
	}
}

// findSession finds a command or shell by the beginning of its id, or the only one.
func findSession(ctx context.Context, c *client.Client, vm, id string) (api.Session, error) {
	list, err := c.ListSessions(ctx, vm)
	if err != nil {
		return api.Session{}, err
	}
	var found []api.Session
	for _, s := range list {
		if !strings.HasPrefix(s.ID, id) {
			continue
		}
		if s.Kind == "exec" || s.Kind == "shell" {
			found = append(found, s)
		} else if id != "" {
			return s, api.Errorf(api.KindInvalid, "cannot attach to session %s: it is of kind %s, not a command or shell", s.ID, s.Kind)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0 && id == "":
		return api.Session{}, api.Errorf(api.KindNotFound, "no command or shell of a client runs in %s", vm).
			WithHint("banger vm shell %s", vm)
	case len(found) == 0:
		return api.Session{}, api.Errorf(api.KindNotFound, "there is no session %q in %s", id, vm).WithHint("banger vm sessions %s", vm)
	}
	return api.Session{}, api.Errorf(api.KindInvalid, "%d sessions of %s could be meant: say which", len(found), vm).
		WithHint("banger vm sessions %s", vm)
}
