package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/client"
	"banger/internal/paths"
)

const (
	// hung is more than an operation takes on a busy machine, restarts of the daemon and a
	// stop's grace included.
	hung = 3 * time.Minute
	// manyEvents is how many operations on a track are explained together at most; the next
	// waits.
	manyEvents = 24
)

// world is an installation of banger, with what the model knows of it.
type world struct {
	home    string
	paths   paths.Paths
	env     []string // of commands
	client  *client.Client
	scratch string // for files of clients; never full
	small   bool   // the home is a small file system of its own
	real    bool   // guests are real
	config  string // config.toml, but for the memory of VMs
	ports   [][]int
	points  string // the file that names the point at which the daemon dies
	tracks  []*track
	kills   spans // of the daemon
	fills   spans // of the disk
	tally   *tally
	journal journal
	resting sync.RWMutex // held while nothing is to be at work

	settings, filling sync.Mutex
}

// vmName is what a name of a track is called.
func (w *world) vmName(track, name int) string { return fmt.Sprintf("t%d%c", track, 'a'+name) }

// spans counts what takes a time.
type spans struct{ begun, ended atomic.Int64 }

func (s *spans) during(do func() error) error {
	s.begun.Add(1)
	defer s.ended.Add(1)
	return do()
}

// mark is for since.
func (s *spans) mark() int64 { return s.ended.Load() }

// since is how many were under way since a mark, or still are.
func (s *spans) since(mark int64) int { return int(s.begun.Load() - mark) }

// track is what operations may disturb each other on.
type track struct {
	mu     sync.Mutex
	free   *sync.Cond
	clock  int64
	under  int       // operations under way
	events []*event  // since states
	late   []int     // what commands have or may yet be writing whose clients were killed or gave up
	states []state   // those that the track may have been in when nothing was under way
	fresh  time.Time // when there was last no VM on it for certain
}

func newTrack() *track {
	t := &track{states: []state{{}}}
	t.free = sync.NewCond(&t.mu)
	return t
}

func (t *track) begin() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.events)+t.under >= manyEvents {
		t.free.Wait()
	}
	t.under++
	t.clock++
	return t.clock
}

// end takes an event, and fails if nothing explains what clients were told since nothing
// was last under way.
func (t *track) end(e *event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.under--
	t.clock++
	e.end = t.clock
	t.events = append(t.events, e)
	if e.op.writes && (e.out.lost || e.out.err != nil) {
		t.late = append(t.late, e.note)
	}
	if t.under > 0 {
		return nil
	}
	for _, e := range t.events {
		e.late = t.late
	}
	before, events := t.states, t.events
	t.states, t.events = explain(before, events), nil
	t.sawNone()
	t.free.Broadcast()
	if len(t.states) == 0 {
		return unexplained(before, events)
	}
	return nil
}

// sawNone keeps the time if the track has no VM. The caller holds mu.
func (t *track) sawNone() {
	none := func(s state) bool { return s.vm == [2]vm{} }
	if len(t.states) > 0 && !slices.ContainsFunc(t.states, func(s state) bool { return !none(s) }) {
		t.fresh = time.Now()
	}
}

func unexplained(from []state, events []*event) error {
	var b strings.Builder
	b.WriteString("what clients were told cannot be. Before, the track was in one of:\n")
	for _, s := range from {
		fmt.Fprintf(&b, "    %v\n", s)
	}
	b.WriteString("  then (with the times at which each began and ended):\n")
	for _, e := range events {
		fmt.Fprintf(&b, "    %3d-%3d %v\n", e.begin, e.end, e)
	}
	return errors.New(b.String())
}

// do makes one step, and fails if what comes of it cannot be.
func (w *world) do(ctx context.Context, s *step) error {
	w.resting.RLock()
	defer w.resting.RUnlock()
	if ctx.Err() != nil {
		return nil
	}
	began := time.Now()
	if s.chaos != nil {
		err := s.chaos.run(ctx, w, s)
		w.tally.chaos(s)
		w.journal.add(allTracks, began, orError(s.String(), err))
		return err
	}
	first, tracks := s.track, w.tracks[s.track:s.track+1]
	if s.op.everywhere {
		first, tracks = 0, w.tracks
	}
	events := make([]*event, len(tracks))
	for i, t := range tracks {
		events[i] = &event{step: s.on(first + i), begin: t.begin()}
	}
	kills, fills := w.kills.mark(), w.fills.mark()
	limited, cancel := context.WithTimeout(ctx, hung)
	out := w.ask(limited, s)
	if limited.Err() != nil && ctx.Err() == nil {
		out.err = api.Errorf(api.KindTimeout, "HUNG for %s: %v", hung, out.err)
	}
	cancel()
	out.kills, out.full = w.kills.since(kills), w.fills.since(fills) > 0
	w.tally.operation(s, out)
	var found error
	for i, t := range tracks {
		events[i].out = out
		w.journal.add(first+i, began, events[i].String()+w.room(out))
		if err := t.end(events[i]); err != nil && found == nil {
			found = &wrong{first + i, err}
		}
	}
	return found
}

// room tells how full the disk is if an error says that it is full; empty if none does.
func (w *world) room(out outcome) string {
	if out.err == nil || out.err.Kind != api.KindNoSpace {
		return ""
	}
	var st unix.Statfs_t
	if err := unix.Statfs(w.home, &st); err != nil {
		return fmt.Sprintf(" (how full the disk is cannot be found out: %v)", err)
	}
	return fmt.Sprintf(" (now %d KiB of %d KiB are free)", st.Bavail*uint64(st.Bsize)>>10, st.Blocks*uint64(st.Bsize)>>10)
}

func orError(text string, err error) string {
	if err != nil {
		text += " -> " + err.Error()
	}
	return text
}

// ask does what a step says, in its way. Where that did not end well, it waits until the
// daemon is at work on nothing that was asked for.
func (w *world) ask(ctx context.Context, s *step) outcome {
	var out outcome
	if s.via == byClient || s.op.cli == nil {
		out = s.op.run(ctx, w, s)
	} else {
		out = w.command(ctx, s)
	}
	if out.lost {
		w.awaitWork(ctx, s)
	}
	if s.op.writes && (out.lost || out.err != nil) {
		w.awaitCommands(ctx)
	}
	return out
}

// command runs the command line of a step, which is killed or interrupted after a time where
// the step says so.
func (w *world) command(ctx context.Context, s *step) outcome {
	cmd := exec.CommandContext(ctx, "banger", s.op.cli(w, s)...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = w.env, w.scratch, &out, &errs
	if err := cmd.Start(); err != nil {
		return outcome{err: api.AsError(err)}
	}
	defer disturb(cmd, s)()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		o := outcome{}
		if s.op.said != nil {
			s.op.said(&o, out.String())
		}
		return o
	case errors.As(err, &exit) && s.via == byKilled && exit.Sys().(syscall.WaitStatus).Signaled():
		return outcome{lost: true}
	case errors.As(err, &exit) && s.via == byInterrupted && wasInterrupted(exit) && !saysUndone(errs.String()):
		return outcome{lost: true}
	case errors.As(err, &exit):
		return outcome{err: said(errs.String())}
	}
	return outcome{err: api.AsError(err)}
}

// disturb sends a command that runs what the step says, when it says.
func disturb(cmd *exec.Cmd, s *step) (stop func()) {
	sig := signalOf(s.via)
	if sig == nil {
		return func() {}
	}
	timer := time.AfterFunc(s.delay, func() { _ = cmd.Process.Signal(sig) }) // it may just have ended
	return func() { timer.Stop() }
}

// signalOf is what ends a command, nil if nothing does.
func signalOf(v way) os.Signal {
	return map[way]os.Signal{byKilled: os.Kill, byInterrupted: os.Interrupt}[v]
}

// wasInterrupted says that a command has ended of an interrupt, before it could say so or
// with the status that says so.
func wasInterrupted(exit *exec.ExitError) bool {
	return exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT || exit.ExitCode() == 128+int(syscall.SIGINT)
}

// saysUndone says whether a command that was interrupted knows that nothing is left: the daemon
// may not have told it in time.
func saysUndone(text string) bool {
	return strings.Contains(text, nothingLeft) && !strings.Contains(text, "did not say in time")
}

// said makes an error of what the command line said.
func said(text string) *api.Error {
	kind := api.KindInternal
	for _, k := range []struct {
		kind  api.Kind
		words string
	}{
		{api.KindExists, "exists already"}, {api.KindNotFound, "no VM named"}, {api.KindNotFound, "no image"}, {api.KindNotFound, "does not publish"},
		{api.KindConflict, atWork}, {api.KindConflict, "is not running"}, {api.KindConflict, "is running"},
		{api.KindConflict, "runs already"}, {api.KindConflict, "cannot publish"}, {api.KindConflict, "its disk changes"}, {api.KindConflict, "has stopped"},
		{api.KindNoSpace, "disk is full"}, {api.KindNoSpace, "no space left"}, {api.KindCanceled, "overtaken"}, {api.KindCanceled, "cancelled"},
	} {
		if strings.Contains(text, k.words) {
			kind = k.kind
			break
		}
	}
	return api.Errorf(kind, "%s", strings.TrimSpace(text))
}

// awaitWork waits until no operation is at work on a track's VMs: a client was killed, and
// what it had asked for goes on, or is just being begun, which takes a while on a busy host.
func (w *world) awaitWork(ctx context.Context, s *step) {
	for quiet := 0; quiet < 6 && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		quiet++
		if busy, err := w.busy(ctx, s); err != nil || busy {
			quiet = 0
		}
	}
}

func (w *world) busy(ctx context.Context, s *step) (bool, error) {
	vms, err := w.client.VMs().List(ctx)
	if err != nil {
		return false, err
	}
	ops, err := w.client.Operations().List(ctx)
	if err != nil {
		return false, err
	}
	for _, v := range vms {
		if v.Name != w.vmName(s.track, 0) && v.Name != w.vmName(s.track, 1) {
			continue
		}
		if v.State == api.StateCreating || s.op.claims && w.claimed(ctx, v) {
			return true, nil
		}
		for _, o := range ops {
			if o.Status == api.OpRunning && strings.Contains(o.Target, v.ID) {
				return true, nil
			}
		}
	}
	return false, nil
}

// claimed says whether something is at work on a VM, also what is not listed as an operation,
// as a publication. It asks for a change of nothing, for which it has the VM for itself: others
// may be refused meanwhile.
func (w *world) claimed(ctx context.Context, v api.VM) bool {
	_, err := w.client.VMs().Set(ctx, v.ID, api.SetVM{})
	return err != nil && strings.Contains(err.Error(), atWork)
}

// withStory adds the story to an error.
func (w *world) withStory(err error) error {
	return fmt.Errorf("%w\nwhat happened, and the daemon's log:\n%s", err, w.story(err))
}

// story is what happened to the tracks that an error is about, since there was last no VM on
// them.
func (w *world) story(err error) string {
	track, from := allTracks, time.Now()
	var one *wrong
	if errors.As(err, &one) {
		track = one.track
	}
	for n, t := range w.tracks {
		t.mu.Lock()
		if (track == allTracks || track == n) && t.fresh.Before(from) {
			from = t.fresh
		}
		t.mu.Unlock()
	}
	return w.journal.since(track, from, w.paths.DaemonLog())
}

// dirs are the directories of VMs that there are.
func (w *world) dirs() (ids []string, err error) {
	entries, err := os.ReadDir(w.paths.VMs())
	for _, e := range entries {
		ids = append(ids, filepath.Base(e.Name()))
	}
	return ids, err
}
