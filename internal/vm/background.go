package vm

import (
	"context"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/imageconfig"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
)

// startBackground starts the command that runs in the guest without a client. At the VM's first start
// a failure fails the start; later the VM runs nevertheless, so that it can be inspected.
func (s *Starter) startBackground(ctx context.Context, e *records.Entry, r *instance.Instance, first bool, report api.Report) error {
	v := e.Record()
	exec, any := imageconfig.Background(v.ImageConfig, v.Background)
	if !any {
		return nil
	}
	err := runMain(ctx, &guest.Client{Dial: r.Open}, imageconfig.WithTools(v.Tools, exec))
	if err == nil || ctx.Err() != nil {
		return err
	}
	err = api.Errorf(api.KindOf(err), "cannot run the command of VM %s: %w", v.Name, err)
	if first {
		return err
	}
	s.logger.Warn("a command in the background did not start", "vm", v.ID, "error", err)
	report(api.Progress{Step: api.StepNote, Message: err.Error()})
	return nil
}

// runMain starts a guest's main command; the agent starts it once per boot.
func runMain(ctx context.Context, c *guest.Client, exec api.Exec) error {
	session, err := c.Exec(ctx, exec)
	if err != nil {
		return err
	}
	defer session.Close()
	_, err = session.Wait(ctx)
	return err
}
