// Package freezer starts the guest's programs in a cgroup of their own, and freezes everything in
// the guest but its agent and its init, so that the guest can be saved without a program that runs
// (the kernel's cgroup-v2.rst, "cgroup.freeze").
package freezer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
)

// Work is the cgroup of what the agent starts, and outside that of what else was frozen: processes
// in a cgroup that must continue, such as the services of an init that does not use cgroups.
const (
	Work    = "banger-work"
	outside = "banger-outside"
)

const (
	// freezeLimit is how long the processes of a round may take to stop: one that waits for the
	// disk cannot before the disk has answered. A busy host may take as long for all else.
	freezeLimit = 2 * time.Second
	// maxRounds is how often something that is not frozen may appear.
	maxRounds = 10
	// maxTicks is how many seconds a freeze lasts at most. They are counted, because a clock may
	// also count the time in which the whole machine stood still, in a file for months.
	maxTicks = 60
	// maxAttempt bounds the id of an attempt, in bytes.
	maxAttempt = 64
)

// Options configure a Freezer. Its fields that are 0 are what a guest has.
type Options struct {
	Dir    string // where cgroup2 is mounted
	Proc   string // where proc is
	Record string // a file that notes what is frozen, for an agent that is started again
	Keep   []int  // the processes that are never frozen; nil: this one and process 1
	Limit  time.Duration
	Tick   time.Duration
	// Say reports what happens without a request; nil: nobody.
	Say func(format string, args ...any)
}

// Freezer freezes a guest. It is safe for concurrent use.
type Freezer struct {
	o    Options
	root *os.Root // of all cgroups; nil: cannot says why
	work workGroup
	gate gate

	cannot error
	fake   bool // nothing but the gate

	mu      sync.Mutex // held while the guest freezes or thaws
	held    *record    // what is frozen; nil: nothing
	report  agentproto.Frozen
	stop    chan struct{} // ends the count of seconds
	kept    error         // why it does not end on its own
	last    string        // the newest attempt that has ended
	expired bool          // its time was over
}

// Open finds the cgroups of this guest, and thaws what an agent before this one has left frozen.
// In a guest that has none, programs start without one and nothing can be frozen.
func Open(o Options) *Freezer {
	o.Dir, o.Proc = cmp.Or(o.Dir, "/sys/fs/cgroup"), cmp.Or(o.Proc, "/proc")
	o.Limit, o.Tick = cmp.Or(o.Limit, freezeLimit), cmp.Or(o.Tick, time.Second)
	if o.Keep == nil {
		o.Keep = []int{1, os.Getpid()}
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	f := &Freezer{o: o}
	// It stays open: an image's init may mount something else there.
	if f.root, f.cannot = os.OpenRoot(o.Dir); f.cannot != nil {
		return f
	}
	if f.cannot = f.work.open(f.root); f.cannot != nil {
		return f
	}
	if _, err := f.root.Stat(Work + "/" + freezeFile); err != nil {
		f.cannot = errors.New("its kernel, older than Linux 5.2, cannot freeze cgroups")
		return f
	}
	f.recover()
	return f
}

// Fake returns a Freezer for a fake guest, whose programs are not its own to freeze: none starts while it is
// frozen, and those that run continue. The file of the record says whether it is frozen from the beginning.
func Fake(record string) *Freezer {
	f := &Freezer{o: Options{Record: record, Limit: freezeLimit, Tick: time.Second, Say: func(string, ...any) {}}, fake: true}
	if left, err := readRecord(record); err == nil {
		f.held, f.stop = &left, make(chan struct{})
		_ = f.gate.close(context.Background()) // nobody is inside
	}
	return f
}

// recover thaws what is in the record.
func (f *Freezer) recover() {
	left, err := readRecord(f.o.Record)
	if errors.Is(err, fs.ErrNotExist) || f.o.Record == "" {
		return
	}
	if err == nil {
		err = f.release(left)
	}
	if err != nil {
		f.o.Say("thaw what an earlier agent has frozen: %v", err)
	}
	f.last, f.expired = left.Attempt, true
}

// Freeze freezes the guest for an attempt, an id that Thaw has to name. It either freezes all that
// can be frozen, or nothing. Freezing again for the same attempt changes nothing.
func (f *Freezer) Freeze(ctx context.Context, attempt string) (agentproto.Frozen, error) {
	if attempt == "" || len(attempt) > maxAttempt {
		return agentproto.Frozen{}, api.Errorf(api.KindInvalid, "cannot freeze the guest: %.40q is not a valid id of an attempt", attempt)
	}
	if f == nil || f.cannot != nil {
		return agentproto.Frozen{}, api.Errorf(api.KindUnsupported, "cannot freeze the guest: %w", f.reason())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.held != nil && f.held.Attempt == attempt:
		return f.report, nil
	case f.held != nil:
		return agentproto.Frozen{}, api.Errorf(api.KindConflict, "cannot freeze the guest: another attempt has frozen it already")
	case attempt == f.last:
		return agentproto.Frozen{}, api.Errorf(api.KindConflict, "cannot freeze the guest: this attempt has ended")
	}
	report, held, err := f.freeze(ctx, attempt)
	if err != nil {
		f.last, f.expired = attempt, false
		return agentproto.Frozen{}, api.Errorf(api.KindConflict, "cannot freeze the guest: %w", err)
	}
	f.held, f.report, f.kept, f.stop = held, report, nil, make(chan struct{})
	go f.count(attempt, f.o.Tick, f.stop)
	return report, nil
}

func (f *Freezer) reason() error {
	if f == nil {
		return errors.New("it is not a machine")
	}
	return fmt.Errorf("it has no cgroups of version 2 that could be frozen: %w", f.cannot)
}

// count ends the freeze of an attempt after maxTicks.
func (f *Freezer) count(attempt string, tick time.Duration, stop <-chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for range maxTicks {
		select {
		case <-ticker.C: // missed ones are dropped: a jump of the clock counts once
		case <-stop:
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil || f.held.Attempt != attempt || f.kept != nil {
		return
	}
	f.o.Say("nobody has thawed the guest for %d s: it continues", maxTicks)
	if err := f.thaw(nil); err != nil {
		f.o.Say("%v", err)
	}
	f.expired = true
}

// Thaw lets the guest continue, if the attempt has frozen it. It may be repeated.
func (f *Freezer) Thaw(attempt string) (agentproto.Thawed, error) {
	if f == nil || f.cannot != nil {
		return agentproto.Thawed{Lost: true}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.held == nil:
		return agentproto.Thawed{Lost: attempt != f.last || f.expired}, nil
	case f.held.Attempt != attempt:
		return agentproto.Thawed{}, api.Errorf(api.KindConflict, "cannot thaw the guest: another attempt has frozen it")
	case f.kept != nil:
		return agentproto.Thawed{}, api.Errorf(api.KindConflict, "the guest stays frozen: %w", f.kept)
	}
	return agentproto.Thawed{}, f.thaw(nil)
}

// End lets the guest continue, whoever has frozen it, and reports whether it was frozen. Programs that
// wait to be started fail with refusal unless it is nil.
func (f *Freezer) End(refusal error) (bool, error) {
	if f == nil {
		return false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		return false, nil
	}
	return true, f.thaw(refusal)
}

// Close lets the guest continue to its end, unless it has to stay frozen.
func (f *Freezer) Close() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != nil && f.kept == nil {
		_ = f.thaw(nil) // what does not thaw is killed
	}
}

// Keep makes a frozen guest stay frozen until End, without a limit, and reports whether it was
// frozen.
func (f *Freezer) Keep(why error) bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		return false
	}
	f.kept = why
	return true
}

// Frozen reports whether the guest is frozen, or about to be.
func (f *Freezer) Frozen() bool { return f != nil && f.gate.isClosed() }

// thaw ends the freeze. The caller holds mu.
func (f *Freezer) thaw(refusal error) error {
	err := f.release(*f.held)
	close(f.stop)
	f.last, f.expired, f.held, f.kept = f.held.Attempt, false, nil, nil
	f.gate.open(refusal)
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot thaw the whole guest: %w", err)
	}
	return nil
}

// freeze closes the gate and freezes until nothing new appears that is not frozen.
func (f *Freezer) freeze(ctx context.Context, attempt string) (agentproto.Frozen, *record, error) {
	starting, cancel := context.WithTimeout(ctx, f.o.Limit)
	defer cancel()
	if err := f.gate.close(starting); err != nil {
		return agentproto.Frozen{}, nil, err
	}
	r := &record{Attempt: attempt, Moved: map[int]string{}}
	if f.fake {
		return agentproto.Frozen{}, r, r.write(f.o.Record)
	}
	report, err := f.stopAll(ctx, r)
	if err != nil {
		err = errors.Join(err, f.release(*r))
		f.gate.open(nil)
	}
	return report, r, err
}

// stopAll freezes all groups and moves what is outside of them, in rounds: a process may start
// another just before it stops.
func (f *Freezer) stopAll(ctx context.Context, r *record) (agentproto.Frozen, error) {
	var report agentproto.Frozen
	for round := 1; ; round++ {
		s, err := f.survey(r.Groups)
		if err != nil {
			return report, err
		}
		report.Processes += s.processes
		report.Groups = append(report.Groups, s.populated...)
		report.Outside = f.left(s, r)
		groups := slices.DeleteFunc(s.groups, func(g group) bool { return slices.Contains(r.Groups, g.path) || g.frozen })
		strays := slices.DeleteFunc(s.strays, func(p process) bool { return r.Moved[p.pid] != "" })
		if len(groups) == 0 && len(strays) == 0 {
			slices.Sort(report.Groups)
			report.Groups = report.Groups[:min(len(report.Groups), agentproto.MaxListed)]
			return report, nil
		}
		if round > maxRounds {
			return report, fmt.Errorf("processes still start others: %s", f.newest(groups, strays))
		}
		if err := f.stopRound(ctx, r, &report, groups, strays); err != nil {
			return report, err
		}
	}
}

func (f *Freezer) stopRound(ctx context.Context, r *record, report *agentproto.Frozen, groups []group, strays []process) error {
	if len(strays) > 0 && !slices.Contains(r.Groups, outside) {
		if err := f.makeOutside(); err != nil {
			return err
		}
		groups = append(groups, group{path: outside})
		report.Groups = append(report.Groups, outside)
	}
	for _, g := range groups {
		r.Groups = append(r.Groups, g.path)
	}
	for _, p := range strays {
		r.Moved[p.pid] = p.group
	}
	if err := r.write(f.o.Record); err != nil { // before anything is frozen
		return fmt.Errorf("note what is frozen: %w", err)
	}
	for _, g := range groups {
		if err := f.set(g.path, true); err != nil {
			return err
		}
	}
	for _, p := range strays {
		if f.move(p.pid, outside) { // what fails is found again, and reported
			report.Processes++
		}
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.Limit)
	defer cancel()
	for _, g := range groups {
		if err := f.await(ctx, g.path); err != nil {
			return err
		}
	}
	return nil
}
