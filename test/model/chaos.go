package model

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"banger/api"
	"banger/test/harness/session"
)

// chaos is something that happens to banger.
type chaos struct {
	name   string
	weight int
	run    func(ctx context.Context, w *world, s *step) error
}

func disturbances() []*chaos {
	return []*chaos{
		{name: "kill -9 daemon", weight: 4, run: endDaemon(syscall.SIGKILL)},
	}
}

// endDaemon sends the daemon a signal that it ends of, and waits until it has.
func endDaemon(sig syscall.Signal) func(context.Context, *world, *step) error {
	return func(ctx context.Context, w *world, s *step) error {
		time.Sleep(s.delay)
		return w.kills.during(func() error {
			daemon, err := w.daemon()
			if err != nil || daemon == 0 {
				return err
			}
			if err := syscall.Kill(daemon, sig); err != nil {
				return ignoreGone(err)
			}
			return gone(ctx, daemon)
		})
	}
}

func ignoreGone(err error) error {
	if err == syscall.ESRCH {
		return nil
	}
	return err
}

// gone waits until a process has ended.
func gone(ctx context.Context, pid int) error {
	for end := time.Now().Add(hung); session.Alive(pid); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	return nil
}

// daemon is the process id of the daemon, ready or not; 0 if there is none.
func (w *world) daemon() (int, error) {
	all, err := session.Processes(w.home)
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		if isDaemon(p) {
			return p.PID, nil
		}
	}
	return 0, nil
}

func isDaemon(p session.Process) bool {
	return filepath.Base(p.Args[0]) == "bangerd" && len(p.Args) == 1
}

// vmms are the fake VMMs that run, by the ids of their VMs.
func vmms(all []session.Process) map[string]int {
	found := map[string]int{}
	for _, p := range all {
		if len(p.Args) == 5 && p.Args[1] == "banger-fake-guest" {
			found[p.Args[2][len("id="):]] = p.PID
		}
	}
	return found
}

// opKillVMM is an operation, as it changes the state of a VM.
func opKillVMM() *operation {
	return &operation{
		name: "kill -9 VMM", weight: 3,
		run: func(ctx context.Context, w *world, s *step) outcome {
			time.Sleep(s.delay)
			v, err := w.client.ShowVM(ctx, w.vmName(s.track, s.name))
			if err != nil || v.PID == 0 {
				return outcome{}
			}
			all, err := session.Processes(w.paths.VM(v.ID))
			if err != nil {
				return outcome{err: api.AsError(err)}
			}
			pid := vmms(all)[v.ID]
			if pid == 0 || pid != v.PID || syscall.Kill(pid, syscall.SIGKILL) != nil {
				return outcome{}
			}
			for ctx.Err() == nil {
				now, err := w.client.ShowVM(ctx, v.ID)
				if now.PID != pid || api.KindOf(err) == api.KindNotFound {
					return outcome{names: []string{v.Name}}
				}
				time.Sleep(3 * time.Millisecond)
			}
			return outcome{err: api.Errorf(api.KindTimeout, "the daemon does not notice that VMM %d is dead", pid)}
		},
		done: func(s state, e *event) []state {
			runs := s.vm[e.name].phase == running
			switch {
			case len(e.out.names) == 0:
				return only(!runs || len(e.beside) > 0, s)
			case len(e.beside) == 0:
				return only(runs, s.in(e.name, stopped))
			case runs:
				return []state{s, s.in(e.name, stopped)}
			}
			return []state{s}
		},
		failed: func(state, *event) []state { return nil },
	}
}
