package model

import (
	"context"
	"fmt"
	"slices"

	"banger/api"
)

// operation is a kind of operation: how it is asked for, and what the model says of it.
type operation struct {
	name   string
	weight int
	// claims: it has a VM for itself, and others are refused meanwhile.
	claims bool
	// run asks the daemon; cli are the arguments that do the same, nil where none do.
	run func(ctx context.Context, w *world, s *step) outcome
	cli func(w *world, s *step) []string
	// said takes what the command printed; may be nil, as detail, which tells more of a step.
	said       func(o *outcome, text string)
	detail     func(s *step) string
	everywhere bool // it is on all tracks
	writes     bool // it writes in guests
	goesOn     bool // it is not interrupted: the guest goes on with it at its own time
	// mayUndo says of which phase it may be undone when it is cancelled; nil: it never is.
	mayUndo func(phase) bool
	// done are the states that it may leave if it is done, failed those if its client was
	// told that it was not; none means that this cannot be. begun are those of one of which
	// nobody was told.
	done, failed, begun func(s state, e *event) []state
}

// undoneIn is what is left of what begins something while the disk is full, or when the
// second daemon after the one that was asked takes it up, or when a daemon is killed that was
// undoing it already: it is undone.
func undoneIn(s state, e *event, all ...state) []state {
	undone := false
	switch {
	case !e.is(api.KindInternal) && !e.is(api.KindNoSpace):
	case e.out.full:
		undone = true
	case e.says("was being undone when banger was restarted"): // nobody knows any more why
		mayFail := e.via == byInterrupted || e.besideClaim() || e.besides("kill -9 VMM") || s.portTaken(e.name, s.vm[e.name].ports)
		undone = e.out.kills > 1 || e.out.kills > 0 && mayFail
	case e.is(api.KindInternal):
		undone = e.out.kills > 1
	}
	return only(undone, append(all, s)...)
}

func isAbsent(p phase) bool { return p == absent }

func isIdle(p phase) bool { return p == stopped || p == failed }

// either is what is begun and of which nobody was told.
func either(o *operation, more ...phase) func(s state, e *event) []state {
	return func(s state, e *event) []state {
		all := append([]state{s}, o.done(s, e)...)
		for _, p := range more {
			all = append(all, s.in(e.name, p))
		}
		return all
	}
}

// operations are those of a world. What is copied into a real guest is on its disk when the
// guest has written it, which a VMM that is killed prevents: the model does not know that.
func (w *world) operations() []*operation {
	return slices.DeleteFunc(operations(), func(o *operation) bool { return w.real && o.name == "cp in" })
}

func operations() []*operation {
	all := []*operation{
		opCreate(), opRun(), opStart(), opStop(), opKill(), opRestart(), opDelete(false), opDelete(true), opShow(),
		opKillVMM(), opWrite(), opDetached(), opRead(), opCopyIn(), opCopyOut(), opPublish(), opUnpublish(), opRename(), opCommit(),
		opDeleteImage(), opPruneImages(), opPrune(),
	}
	for _, o := range all {
		if o.begun == nil {
			o.begun = either(o)
		}
	}
	return all
}

func told(v api.VM, err error) outcome { return outcome{vm: v, err: api.AsError(err)} }

func opCreate() *operation {
	o := &operation{
		name: "create", mayUndo: isAbsent, weight: 6, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Create(ctx, api.CreateVM{Name: w.vmName(s.track, s.name)}, nil))
		},
		cli: func(w *world, s *step) []string { return []string{"vm", "create", "--name", w.vmName(s.track, s.name)} },
		done: func(s state, e *event) []state {
			return only(s.vm[e.name].phase == absent, s.with(e.name, vm{phase: stopped}))
		},
		failed: notCreated,
	}
	o.begun = either(o, failed)
	return o
}

func opRun() *operation {
	o := &operation{
		name: "run", mayUndo: isAbsent, weight: 9, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Create(ctx, api.CreateVM{Name: w.vmName(s.track, s.name), Start: true}, nil))
		},
		cli: func(w *world, s *step) []string {
			return []string{"vm", "run", "-d", "--name", w.vmName(s.track, s.name)}
		},
		done: func(s state, e *event) []state {
			return only(s.vm[e.name].phase == absent, s.with(e.name, vm{phase: running}))
		},
		failed: notCreated,
	}
	o.begun = either(o, failed)
	return o
}

// notCreated is what a creation may leave that was refused or undone.
func notCreated(s state, e *event) []state {
	free := s.vm[e.name].phase == absent
	kept := s.with(e.name, vm{phase: failed})
	switch {
	case e.is(api.KindExists):
		return only(!free || e.besidesTaking(e.name), s)
	case e.is(api.KindCanceled) && e.besides("delete --force"):
		return only(free, s)
	case e.op.name == "run" && e.besides("kill -9 VMM") && e.is(api.KindInternal):
		return only(free, s, kept)
	}
	return only(free, undoneIn(s, e, kept)...)
}

func opStart() *operation {
	o := &operation{
		name: "start", mayUndo: isIdle, weight: 9, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Start(ctx, w.vmName(s.track, s.name), api.StartVM{}, nil))
		},
		cli: func(w *world, s *step) []string { return []string{"vm", "start", w.vmName(s.track, s.name)} },
		done: func(s state, e *event) []state {
			p := s.vm[e.name].phase
			return only(p == stopped || p == failed, s.in(e.name, running))
		},
		failed: func(s state, e *event) []state {
			v := s.vm[e.name]
			switch {
			case e.is(api.KindConflict) && e.says("runs already"):
				return only(v.phase == running, s)
			case e.is(api.KindNotFound):
				return only(v.phase == absent, s)
			case v.phase == absent || v.phase == running:
				return nil
			}
			return notStarted(s, e)
		},
	}
	o.begun = either(o, failed)
	return o
}

// notStarted is what the start of a VM that does not run may leave when it fails.
func notStarted(s state, e *event) []state {
	v := s.vm[e.name]
	switch {
	case e.is(api.KindConflict) && e.says("cannot publish"):
		return only(s.portTaken(e.name, v.ports) || e.besideClaim(), s)
	case e.is(api.KindCanceled):
		return only(e.besides("kill", "delete --force"), s)
	case e.besides("kill -9 VMM") && e.is(api.KindInternal):
		return []state{s, s.in(e.name, failed)}
	}
	return undoneIn(s, e, s.in(e.name, failed))
}

func opStop() *operation {
	return &operation{
		name: "stop", goesOn: true, weight: 7, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Stop(ctx, w.vmName(s.track, s.name), api.StopVM{GraceSeconds: s.grace}, nil))
		},
		cli: func(w *world, s *step) []string {
			return []string{"vm", "stop", "--grace", fmt.Sprintf("%ds", s.grace), w.vmName(s.track, s.name)}
		},
		done:   ends,
		failed: notEnded,
	}
}

func opKill() *operation {
	return &operation{
		name: "kill", weight: 4, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Kill(ctx, w.vmName(s.track, s.name), nil))
		},
		cli: func(w *world, s *step) []string { return []string{"vm", "kill", w.vmName(s.track, s.name)} },
		done: func(s state, e *event) (all []state) {
			// It overtakes these, which end the VM or leave it as it was.
			if e.besides("stop", "start", "restart") && isIdle(s.vm[e.name].phase) {
				return []state{s}
			}
			for _, name := range e.names() { // as for a session: it overtakes, and goes on by its id
				all = append(all, only(s.vm[name].phase == running, s.in(name, stopped))...)
			}
			return all
		},
		failed: notEnded,
	}
}

func ends(s state, e *event) []state {
	return only(s.vm[e.name].phase == running, s.in(e.name, stopped))
}

// notEnded refuses to end what does not run. Nothing else prevents that: neither a full
// disk nor a daemon that is killed.
func notEnded(s state, e *event) []state {
	p := s.vm[e.name].phase
	switch {
	case e.is(api.KindNotFound):
		return only(p == absent, s)
	case e.is(api.KindConflict) && e.says("is not running"):
		return only(p == stopped || p == failed || p == running && e.besides("restart", "start", "kill -9 VMM"), s)
	}
	return nil
}

func opRestart() *operation {
	o := &operation{
		name: "restart", goesOn: true, weight: 4, claims: true,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Restart(ctx, w.vmName(s.track, s.name), api.StartVM{}, nil))
		},
		cli:  func(w *world, s *step) []string { return []string{"vm", "restart", w.vmName(s.track, s.name)} },
		done: func(s state, e *event) []state { return only(s.vm[e.name].phase != absent, s.in(e.name, running)) },
		failed: func(s state, e *event) []state {
			switch p := s.vm[e.name].phase; {
			case e.is(api.KindNotFound):
				return only(p == absent, s)
			case p == absent:
				return nil
			case p == running: // it may have been ended, and not started
				return append(notStarted(s, e), notStarted(s.in(e.name, stopped), e)...)
			}
			return notStarted(s, e)
		},
	}
	o.begun = either(o, failed, stopped)
	return o
}

func opDelete(force bool) *operation {
	o := &operation{name: "delete", weight: 4, claims: true}
	if force {
		o.name, o.weight = "delete --force", 5
	}
	o.run = func(ctx context.Context, w *world, s *step) outcome {
		return outcome{err: api.AsError(w.client.VMs().Delete(ctx, w.vmName(s.track, s.name), force, nil))}
	}
	o.cli = func(w *world, s *step) []string {
		args := []string{"vm", "delete", w.vmName(s.track, s.name)}
		if force {
			args = append(args, "--force")
		}
		return args
	}
	o.done = func(s state, e *event) (all []state) {
		if s.vm[e.name].phase == absent { // it overtook a creation, which was undone, or another deletion
			all = only(force && e.besides("create", "run", "delete", "delete --force"), s)
		}
		for _, name := range e.names() { // as for a kill
			p := s.vm[name].phase
			all = append(all, only(p != absent && (force || p != running), s.in(name, absent))...)
		}
		return all
	}
	o.failed = func(s state, e *event) []state {
		switch p := s.vm[e.name].phase; {
		case e.is(api.KindNotFound):
			return only(p == absent, s)
		case e.is(api.KindConflict) && e.says("is running"):
			return only(!force && p == running, s)
		}
		return nil
	}
	return o
}

// opShow looks at a VM. While others are at work on it, it may be shown in between.
func opShow() *operation {
	return &operation{
		name: "show", weight: 8,
		run: func(ctx context.Context, w *world, s *step) outcome {
			return told(w.client.VMs().Show(ctx, w.vmName(s.track, s.name)))
		},
		done: func(s state, e *event) []state {
			if len(e.beside) > 0 {
				return []state{s}
			}
			v := s.vm[e.name]
			return only(v.phase != absent && v.phase.String() == string(e.out.vm.State) && (v.phase == running) == (e.out.vm.PID > 0), s)
		},
		failed: func(s state, e *event) []state {
			return only(e.is(api.KindNotFound) && (s.vm[e.name].phase == absent || len(e.beside) > 0), s)
		},
	}
}
