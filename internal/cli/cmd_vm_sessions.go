package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newVMSessions(a *app) *cobra.Command {
	l := sessionList{std: a.std}
	cmd := &cobra.Command{
		Use:   "sessions [NAME]",
		Short: "List the sessions in VMs",
		Long: `List the sessions in a VM, or in all running VMs: commands, shells, copies, ssh
connections and forwards. A session is attached to its client; or waiting, because
its client's connection broke; or detached, running without a client (commands and
shells only); or ended, with output and exit status not yet read. "banger vm
attach" attaches to commands and shells.`,
		Example:           "  banger vm sessions\n  banger vm sessions dev\n  banger vm sessions --json dev",
		Args:              arguments(0, 1, "the name of one VM, or none"),
		ValidArgsFunction: completeArgs(1, vmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, incomplete, err := l.ask(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			if len(list) > 0 || !incomplete || l.asJSON {
				err = l.print(list)
			}
			if err == nil && incomplete {
				err = statusError(1)
			}
			return err
		},
	}
	addJSON(cmd, &l.asJSON)
	cmd.Flags().BoolVarP(&l.quietly, "quiet", "q", false, "print ids only")
	return cmd
}

// inVMSession is a session and its VM.
type inVMSession struct {
	VM string `json:"vm"`
	api.Session
}

const (
	// guestsAtOnce is how many guests are asked at the same time, more than may hang, and
	// guestsTime what all of them get: one that hangs takes the daemon 15 seconds.
	guestsAtOnce = 32
	guestsTime   = 30 * time.Second
)

// sessionList is one `vm sessions`.
type sessionList struct {
	std             *streams
	asJSON, quietly bool
}

// ask returns the sessions of the named VM, or of all that run. One that does not answer is
// named and skipped, and incomplete is set.
func (l *sessionList) ask(ctx context.Context, c *client.Client, names []string) (list []inVMSession, incomplete bool, err error) {
	list = []inVMSession{}
	if len(names) > 0 {
		found, err := c.VMs().Sessions(ctx, names[0])
		return placed(names[0], found), false, err
	}
	vms, err := c.VMs().List(ctx)
	if err != nil {
		return nil, false, err
	}
	vms = slices.DeleteFunc(vms, func(vm api.VM) bool { return vm.State != api.StateRunning })
	found, errs := sessionsOf(ctx, c, vms, guestsTime)
	for i, vm := range vms {
		if errs[i] != nil {
			incomplete = true
			l.std.printError(api.Errorf(api.KindOf(errs[i]), "cannot list the sessions of %s: %w", vm.Name, errs[i]))
		}
		list = append(list, placed(vm.Name, found[i])...)
	}
	return list, incomplete, nil
}

// sessionsOf asks VMs for their sessions, side by side and all within one time.
func sessionsOf(ctx context.Context, c *client.Client, vms []api.VM, bound time.Duration) ([][]api.Session, []error) {
	within, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	found, errs := make([][]api.Session, len(vms)), make([]error, len(vms))
	inParallel(len(vms), guestsAtOnce, func(i int) {
		found[i], errs[i] = c.VMs().Sessions(within, vms[i].ID)
		if errs[i] != nil && within.Err() != nil && ctx.Err() == nil {
			errs[i] = api.Errorf(api.KindTimeout, "all guests together did not answer within %s", bound).
				WithHint("banger vm sessions %s", vms[i].Name)
		}
	})
	return found, errs
}

// placed says in which VM sessions are.
func placed(vm string, sessions []api.Session) []inVMSession {
	list := make([]inVMSession, len(sessions))
	for i, s := range sessions {
		list[i] = inVMSession{vm, s}
	}
	return list
}

func (l *sessionList) print(list []inVMSession) error {
	switch {
	case l.asJSON:
		return printJSON(l.std.out, "sessions", list)
	case l.quietly:
		for _, s := range list {
			if _, err := fmt.Fprintln(l.std.out, printable(s.ID)); err != nil {
				return err
			}
		}
		return nil
	case len(list) == 0:
		l.std.note("no sessions; `banger vm exec --detach NAME -- COMMAND` starts one in the background")
		return nil
	}
	t, now := newTable("VM", "ID", "KIND", "STATE", "SINCE", "IN", "OUT", "PID", "COMMAND"), time.Now()
	for _, s := range list {
		state, pid := string(s.State), "-"
		if s.ExitCode != nil {
			state = fmt.Sprintf("%s (%d)", state, *s.ExitCode)
		}
		if s.PID > 0 {
			pid = fmt.Sprint(s.PID)
		}
		t.add(s.VM, s.ID, s.Kind, state, ago(now, s.StartedAt), size.Format(s.BytesIn), size.Format(s.BytesOut), pid, s.Command)
	}
	return t.write(l.std.out)
}
