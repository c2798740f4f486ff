package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"banger/api"
)

// maxLeased is how many VMs of clients that are gone there may be at once: while daemons are
// killed all the time, no lease runs out.
const maxLeased = 3

// leasedPrefix begins the names of VMs that a command has for itself: they are on no track.
const leasedPrefix = "leased"

// runLeased has a command run something in a VM of its own, which goes with it. One that is
// killed or interrupted may leave its VM for a while; any other says what came of it.
func runLeased(ctx context.Context, w *world, s *step) error {
	vms, err := w.client.VMs().List(ctx)
	if err != nil {
		return err
	}
	if len(leased(vms)) >= maxLeased {
		return nil
	}
	name := fmt.Sprintf("%s%d", leasedPrefix, s.n)
	kills, fills := w.kills.mark(), w.fills.mark()
	limited, cancel := context.WithTimeout(ctx, hung)
	defer cancel()
	cmd := exec.CommandContext(limited, "banger", "vm", "run", "--rm", "--name", name, "--", "sh", "-c", "sleep 0.05; echo $((40+2))")
	var out, errs bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = w.env, w.scratch, &out, &errs
	if err := cmd.Start(); err != nil {
		return err
	}
	defer disturb(cmd, s)()
	err = cmd.Wait()
	disturbed := w.kills.since(kills) > 1 || w.fills.since(fills) > 0
	var exit *exec.ExitError
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("it HUNG for %s: %s", hung, &errs)
	case errors.As(err, &exit) && (signalOf(s.via) != nil || disturbed):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %s", err, &errs)
	case out.String() != "42\n":
		return fmt.Errorf("it printed %q", &out)
	}
	w.tally.count("VM that went with its command")
	v, err := w.client.VMs().Show(ctx, name)
	if api.KindOf(err) != api.KindNotFound && !disturbed {
		return fmt.Errorf("VM %s is %s after its command: %w", name, v.State, err)
	}
	return nil
}

// leased are the VMs that commands had for themselves.
func leased(vms []api.VM) (names []string) {
	for _, v := range vms {
		if strings.HasPrefix(v.Name, leasedPrefix) && v.State != api.StateFailed {
			names = append(names, v.Name)
		}
	}
	return names
}

// leaseTime is more than the half minute for which a VM is kept whose client is gone, and its
// removal.
const leaseTime = 30*time.Second + settleTime

// awaitLeases wants all VMs to go whose commands are gone.
func (w *world) awaitLeases(ctx context.Context) error {
	for end := time.Now().Add(leaseTime); ; time.Sleep(100 * time.Millisecond) {
		vms, err := w.client.VMs().List(ctx)
		if err != nil {
			return err
		}
		left := leased(vms)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("VMs whose commands are gone are kept for %s: %v", leaseTime, left)
		}
	}
}
