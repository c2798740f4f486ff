package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/test/harness/session"
)

// settleTime bounds how long banger may take to come to rest.
const settleTime = time.Minute

// look waits until all clients rest, and compares everything with the model: what the
// daemon says, what runs, and what is on the disk. From then on the model knows where the
// VMs are.
func (w *world) look(ctx context.Context) error {
	w.resting.Lock()
	defer w.resting.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	w.tally.mu.Lock()
	w.tally.checks++
	w.tally.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, hung)
	defer cancel()
	var err error
	for end := time.Now().Add(settleTime); ; time.Sleep(20 * time.Millisecond) {
		if err = w.compare(ctx); err == nil || errors.As(err, new(*lie)) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("at rest: %w", err)
	}
	return nil
}

// lie is what no waiting mends.
type lie struct{ error }

// compare fails while banger is not at rest, or not as the model has it.
func (w *world) compare(ctx context.Context) error {
	vms, err := w.client.VMs().List(ctx)
	if err != nil {
		return &lie{fmt.Errorf("the VMs cannot be listed: %w", err)}
	}
	ops, err := w.client.Operations().List(ctx)
	if err != nil {
		return &lie{fmt.Errorf("the operations cannot be listed: %w", err)}
	}
	for _, o := range ops {
		if o.Status == api.OpRunning {
			return fmt.Errorf("operation %s on %s is still at step %s", o.Kind, o.Target, o.Step)
		}
	}
	found := []error{w.compareProcesses(vms), w.compareFiles(vms), w.compareLeaks(ctx), w.compareIDs(ctx, vms)}
	for n, t := range w.tracks {
		if err := w.compareTrack(ctx, n, t, vms); err != nil {
			found = append(found, &wrong{n, err})
		}
	}
	return errors.Join(found...)
}

// compareTrack compares the VMs of a track with the states that the model has for it, and
// leaves it the one that they are in.
func (w *world) compareTrack(ctx context.Context, n int, t *track, vms []api.VM) error {
	found, err := w.stateOf(ctx, n, vms)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under > 0 || len(t.events) > 0 {
		return &lie{fmt.Errorf("track %d is not at rest", n)}
	}
	fits := fitting(t.states, found, t.late)
	if len(fits) == 0 {
		var b strings.Builder
		for _, s := range t.states {
			fmt.Fprintf(&b, "\n    %v", s)
		}
		return &lie{fmt.Errorf("track %d is\n    %v\n  and should be one of%s", n, found, &b)}
	}
	t.states, t.late = fits, nil
	t.sawNone()
	return w.comparePorts(n, found)
}

// fitting are the states that what was found may be, with the notes that were found. late are
// notes that may have been written since.
func fitting(states []state, found state, late []int) (fits []state) {
	for _, s := range states {
		is := found
		for i := range s.vm {
			if s.vm[i].phase != running { // it cannot be asked for its note
				is.vm[i].note = s.vm[i].note
			} else if slices.Contains(late, is.vm[i].note) {
				s.vm[i].note = is.vm[i].note
			}
		}
		if s == is {
			fits = append(fits, s)
		}
	}
	return fits
}

// stateOf looks at a track.
func (w *world) stateOf(ctx context.Context, n int, vms []api.VM) (s state, err error) {
	for i := range s.vm {
		at := slices.IndexFunc(vms, func(v api.VM) bool { return v.Name == w.vmName(n, i) })
		if at < 0 {
			continue
		}
		v := vms[at]
		p, ok := map[api.State]phase{api.StateStopped: stopped, api.StateRunning: running, api.StateFailed: failed}[v.State]
		if !ok {
			return s, fmt.Errorf("VM %s is %s (%s)", v.Name, v.State, v.Reason)
		}
		s.vm[i].phase = p
		for port := range w.ports[n] {
			if slices.Contains(v.Publish, w.port(n, port)) {
				s.vm[i].ports |= 1 << port
			}
		}
		if p == running {
			o := readNote(w.shell(ctx, v.ID, readScript))
			if o.err != nil {
				return s, &lie{fmt.Errorf("VM %s runs and cannot be asked: %w", v.Name, o.err)}
			}
			s.vm[i].note = o.note
		}
	}
	images, err := w.client.Images().List(ctx)
	for _, i := range images {
		s.image = s.image || slices.Contains(i.Names, imageName(n))
	}
	return s, err
}

// compareProcesses wants the daemon to run, a VMM for each VM that runs, and nothing else.
func (w *world) compareProcesses(vms []api.VM) error {
	all, err := session.Processes(w.home)
	if err != nil {
		return err
	}
	guests := vmms(all)
	for _, v := range vms {
		if (v.State == api.StateRunning) != (guests[v.ID] != 0) || v.PID != guests[v.ID] {
			return fmt.Errorf("VM %s (%s) is %s with process %d, and its VMM is process %d", v.Name, v.ID, v.State, v.PID, guests[v.ID])
		}
		delete(guests, v.ID)
	}
	if len(guests) > 0 {
		return fmt.Errorf("VMMs of no VM: %v", guests)
	}
	serve := map[string]bool{}
	for _, v := range vms {
		serve[v.ID] = v.State == api.StateRunning && len(v.Publish) > 0
	}
	daemons := 0
	for _, p := range all {
		switch {
		case isDaemon(p):
			daemons++
		case isForwarder(p):
			id := p.Args[2][len("vm="):]
			if !serve[id] {
				return fmt.Errorf("a forwarder that has nothing to serve: %v", p)
			}
			serve[id] = false
		case vmmOf(p) != "":
		default:
			return fmt.Errorf("a stray process: %v", p)
		}
	}
	for id, missing := range serve {
		if missing {
			return fmt.Errorf("VM %s has no forwarder for its ports", id)
		}
	}
	if daemons != 1 {
		return fmt.Errorf("%d daemons run", daemons)
	}
	return nil
}

// compareFiles wants a directory for each VM, and nothing half-made.
func (w *world) compareFiles(vms []api.VM) error {
	dirs, err := w.dirs()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var ids []string
	for _, v := range vms {
		ids = append(ids, v.ID)
	}
	slices.Sort(ids)
	slices.Sort(dirs)
	if !slices.Equal(ids, dirs) {
		return fmt.Errorf("the VMs are %v, and their directories %v", ids, dirs)
	}
	staged, err := os.ReadDir(w.paths.Staging())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(staged) > 0 {
		return fmt.Errorf("half-made images are left: %v", staged)
	}
	return nil
}

// shortID is how much of an id is enough to mean a VM among a few.
const shortID = 8

// compareIDs wants each VM to be found by the beginning of its id.
func (w *world) compareIDs(ctx context.Context, vms []api.VM) error {
	for _, v := range vms {
		found, err := w.client.VMs().Show(ctx, v.ID[:shortID])
		if err != nil || found.ID != v.ID || found.Name != v.Name {
			return fmt.Errorf("%s is to be VM %s (%s), and is VM %s (%s): %w", v.ID[:shortID], v.Name, v.ID, found.Name, found.ID, err)
		}
	}
	return nil
}

func (w *world) compareLeaks(ctx context.Context) error {
	found, err := w.client.Daemon().Leaks(ctx)
	if err != nil {
		return err
	}
	if len(found.Leaks) > 0 {
		return fmt.Errorf("leaks: %v", found.Leaks)
	}
	return nil
}
