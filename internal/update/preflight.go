package update

import (
	"context"
	"slices"
	"strings"

	"banger/api"
)

// preflight holds back new work and records which guests run.
func (r *run) preflight(ctx context.Context) error {
	r.Report("holding new work back")
	if err := r.takeHold(); err != nil {
		return err
	}
	ops, err := r.unfinished(ctx, r.j.Force)
	if err := r.recordOrFail(ctx, err); err != nil {
		return err
	}
	if err := r.recheckRestore(ctx); err != nil {
		return err
	}
	r.Report("recording which guests run")
	return r.recordOrFail(ctx, r.proof.prepare(ctx, ops))
}

// unfinished returns the running operations, or refuses the update because of them.
// force accepts only operations that the next daemon can resume.
func (m Machine) unfinished(ctx context.Context, force bool) ([]api.Operation, error) {
	all, err := m.operations(ctx)
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot list the running operations: %w", err)
	}
	ops := slices.DeleteFunc(slices.Clone(all), func(o api.Operation) bool { return o.Status != api.OpRunning })
	var names []string
	forced := true
	for _, o := range ops {
		names = append(names, strings.TrimSpace(api.ActionOf(o.Kind).String()+" "+o.Target))
		forced = forced && resumable(o.Kind)
	}
	if len(ops) == 0 || force && forced {
		return ops, nil
	}
	refusal := api.Errorf(api.KindConflict, "cannot update while work is unfinished: %s", strings.Join(names, ", "))
	if !forced {
		return nil, refusal.WithHint("wait until it has ended: work on images and kernels would have to start again")
	}
	return nil, refusal.WithHint("wait until it has ended; or use --force, and the new version resumes it")
}

// resumable reports whether a new daemon resumes an operation of an earlier one. Work
// on images and kernels runs programs that end with their daemon.
func resumable(kind string) bool { return strings.HasPrefix(kind, "vm.") }
