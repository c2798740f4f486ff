// Package idle suspends VMs that nobody uses. What keeps a VM awake is what works in it, not who looks at it.
package idle

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/op"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
	"banger/internal/vm/tasks"
)

const (
	// longestPause is the pause between two looks at a VM, unless its time is short: then it is one of
	// looksInTime parts of that.
	longestPause = 15 * time.Second
	looksInTime  = 5
	// idleShare is the part of one processor that an idle guest's VMM may take: emulated,
	// Debian took 1.2 of 100, with these looks and without (cpu_ns in "banger vm stats --json", a minute apart).
	idleShare = 0.05
	// shareTime is the shortest time over which a share is measured: the answer to a look takes processor
	// time, too.
	shareTime = time.Second
	// asksFor bounds the wait for a guest.
	asksFor = 5 * time.Second
)

// Options configure a Watcher.
type Options struct {
	Table *records.Table
	Tasks *tasks.Group
	// Sessions lists the sessions in the guest of a VM.
	Sessions func(ctx context.Context, ref string) ([]api.Session, error)
	// Suspend suspends a VM unless still returns an error, which is asked once nothing new can begin in it.
	Suspend func(ctx context.Context, ref string, still func(context.Context) error) (*op.Op, error)
	// Pause is the longest pause between two looks; 0: fifteen seconds.
	Pause  time.Duration
	Logger *slog.Logger
}

// Watcher looks at all running VMs that have a time after which they are suspended.
type Watcher struct {
	Options

	mu   sync.Mutex
	seen map[string]*seen // by the VM's id
}

// New returns a watcher that does nothing until Run.
func New(o Options) *Watcher {
	if o.Pause == 0 {
		o.Pause = longestPause
	}
	return &Watcher{Options: o, seen: map[string]*seen{}}
}

// seen is what the looks at an instance have found.
type seen struct {
	run *instance.Instance

	look    sync.Mutex       // held during a look; guards what the next look compares with
	carried map[string]int64 // how many bytes each session had carried
	cpu     time.Duration    // the processor time of the VMM
	cpuAt   time.Time        // when that was read

	mu    sync.Mutex // guards the rest; never held while something waits
	busy  time.Time  // when the VM was last busy
	awake string     // what it was busy with then
}

// Run looks until the tasks end. A daemon that starts knows nothing of before: a VM's time begins then.
func (w *Watcher) Run() {
	ctx := w.Tasks.Context()
	for {
		pause := w.round(ctx)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// round looks at each VM once, and returns the pause until the next round.
func (w *Watcher) round(ctx context.Context) time.Duration {
	pause := w.Pause
	alive := map[string]bool{}
	var looks sync.WaitGroup
	for _, at := range w.Table.Snapshots() {
		limit := Limit(at.VM)
		if limit == 0 || at.Run == nil || at.VM.State != api.StateRunning {
			continue
		}
		alive[at.VM.ID] = true
		pause = min(pause, limit/looksInTime)
		looks.Go(func() { w.judge(ctx, at, limit) })
	}
	looks.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.seen {
		if !alive[id] {
			delete(w.seen, id)
		}
	}
	return pause
}

// Limit is after what time without use a VM is suspended; 0: never.
func Limit(v api.VM) time.Duration { return time.Duration(v.IdleSuspendSeconds) * time.Second }

// of returns what was seen of a VM's instance. The first time is the beginning of its time.
func (w *Watcher) of(at records.Snapshot) *seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[at.VM.ID]
	if s == nil || s.run != at.Run {
		s = &seen{run: at.Run, busy: time.Now(), awake: "its start, or that of the daemon"}
		w.seen[at.VM.ID] = s
	}
	return s
}

// judge suspends a VM that has been idle for its time.
func (w *Watcher) judge(ctx context.Context, at records.Snapshot, limit time.Duration) {
	s := w.of(at)
	if at.Busy == records.KindSuspend || w.use(ctx, s, at.Entry) != "" || s.idleFor() < limit {
		return
	}
	w.Logger.Info("suspending a VM that nobody uses", "vm", at.VM.ID, "idle", s.idleFor().Round(time.Second))
	o, err := w.Suspend(ctx, at.VM.ID, func(ctx context.Context) error {
		if why := w.use(ctx, s, at.Entry); why != "" {
			return api.Errorf(api.KindConflict, "VM %s is used: %s", at.VM.Name, why)
		}
		return nil
	})
	w.Tasks.Go(func() { // the looks at others go on
		if err == nil {
			err = o.Wait(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.used("it could not be suspended: " + api.AsError(err).Message) // it is tried again after its time
			w.Logger.Warn("a VM that nobody uses was not suspended", "vm", at.VM.ID, "error", err)
		}
	})
}

func (s *seen) idleFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.busy)
}

func (s *seen) used(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.awake = time.Now(), why
}

// use looks at a VM, and returns what it is used for, or "".
func (w *Watcher) use(ctx context.Context, s *seen, e *records.Entry) string {
	s.look.Lock()
	defer s.look.Unlock()
	at := e.Snapshot()
	why := w.find(ctx, s, at)
	if why != "" {
		s.used(why)
	}
	return why
}

// find returns what a VM is used for since the last look.
func (w *Watcher) find(ctx context.Context, s *seen, at records.Snapshot) string {
	if at.Busy != "" && at.Busy != records.KindSuspend {
		return api.ActionOf(at.Busy).Doing
	}
	if h := at.VM.Hold; h != nil && h.Until == nil {
		return "it is held"
	} else if h != nil && time.Now().Before(*h.Until) {
		return "it is held until " + h.Until.Local().Format(time.DateTime)
	}
	within, cancel := context.WithTimeout(ctx, asksFor)
	defer cancel()
	list, err := w.Sessions(within, at.VM.ID)
	if err != nil {
		return "its guest does not answer"
	}
	share := s.share()
	before := s.carried
	s.carried = map[string]int64{}
	why := ""
	for _, one := range list {
		s.carried[one.ID] = one.BytesIn + one.BytesOut
		if works(one, before) {
			why = fmt.Sprintf("%s %.8s %.60q", one.Kind, one.ID, one.Command)
		}
	}
	if why == "" && share > idleShare {
		why = fmt.Sprintf("its processors, %.0f %% of one", 100*share)
	}
	return why
}

// share returns the part of one processor that the VMM has taken since the last call that was long enough ago;
// 0 if that is not known.
func (s *seen) share() float64 {
	m, ok := s.run.Machine().(driver.Meter)
	if !ok {
		return 0
	}
	now := time.Now()
	span := now.Sub(s.cpuAt)
	if span < shareTime {
		return 0
	}
	used, _, err := m.CPUTime()
	if err != nil {
		return 0
	}
	before, first := s.cpu, s.cpuAt.IsZero()
	s.cpu, s.cpuAt = used, now
	if first {
		return 0
	}
	return float64(used-before) / float64(span)
}

// works reports whether a session keeps its VM awake: it has carried something since the last look, or its
// command runs without a terminal at which it could be waiting for its user.
func works(s api.Session, before map[string]int64) bool {
	if s.State == api.SessionEnded {
		return false
	}
	bytes, known := before[s.ID]
	return !known || bytes != s.BytesIn+s.BytesOut || !s.TTY && s.PID != 0
}

// View returns when a VM is suspended unless it is used before, and what it was last used for; nil if it
// has no time after which it is suspended.
func (w *Watcher) View(v api.VM) *api.Idle {
	limit := Limit(v)
	if limit == 0 || v.State != api.StateRunning {
		return nil
	}
	w.mu.Lock()
	s := w.seen[v.ID]
	w.mu.Unlock()
	if s == nil {
		return &api.Idle{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.busy.Add(limit)
	return &api.Idle{SuspendsAt: &at, Awake: s.awake}
}
