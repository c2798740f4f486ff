// Package observe looks at VMs that run, without changing anything: what they use, and how their parts
// are.
package observe

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
	"banger/internal/vm/tasks"
)

// Options configure an Observer.
type Options struct {
	// DiskUsage returns how full a VM's disk is, and Base the file that it holds the changes to; nil
	// if that is unknown, or if there is none.
	DiskUsage func(ctx context.Context, v api.VM) *api.DiskUsage
	Base      func(v api.VM) *api.DiskBase
	// Answer bounds the wait for each guest; 0: one second.
	Answer time.Duration
}

// Observer looks at the VMs of a table.
type Observer struct {
	Options
	table *records.Table
	tasks *tasks.Group

	mu   sync.Mutex
	seen map[string]*seen // by the VM's id
}

// answerTime bounds the wait for a guest. All guests are asked at the same time, so it bounds a whole
// look.
const answerTime = time.Second

// New returns the observer of the VMs in table. Requests to agents continue in group.
func New(o Options, table *records.Table, group *tasks.Group) *Observer {
	if o.Answer == 0 {
		o.Answer = answerTime
	}
	return &Observer{Options: o, table: table, tasks: group, seen: map[string]*seen{}}
}

// maxRefs bounds how many VMs one request may name.
const maxRefs = 1024

// Stats returns what the named VMs use, in that order; without a name, what all VMs that run use, oldest
// first. A VM that cannot be looked at has an error of its own.
func (o *Observer) Stats(ctx context.Context, refs []string) (api.StatsList, error) {
	if len(refs) > maxRefs {
		return api.StatsList{}, api.Errorf(api.KindInvalid, "%d VMs are named; the limit is %d", len(refs), maxRefs)
	}
	list := api.StatsList{At: time.Now(), Stats: []api.VMStats{}}
	var found []records.Snapshot
	if len(refs) == 0 {
		found = o.running()
	}
	var missing []error
	for _, ref := range refs {
		at, err := o.table.Look(ref)
		found, missing = append(found, at), append(missing, err)
	}
	list.Stats = append(list.Stats, make([]api.VMStats, len(found))...)
	ctx, cancel := context.WithTimeout(ctx, o.Answer)
	defer cancel()
	var work sync.WaitGroup
	for i, at := range found {
		if at.Entry == nil {
			list.Stats[i] = api.VMStats{Name: refs[i], Error: api.AsError(missing[i])}
			continue
		}
		work.Go(func() { list.Stats[i] = o.look(ctx, at, len(found)) })
	}
	work.Wait()
	o.forget()
	return list, nil
}

// running returns the VMs that have a VMM, oldest first.
func (o *Observer) running() []records.Snapshot {
	all := slices.DeleteFunc(o.table.Snapshots(), func(at records.Snapshot) bool { return at.Run == nil })
	slices.SortFunc(all, func(a, b records.Snapshot) int {
		return cmp.Or(a.VM.CreatedAt.Compare(b.VM.CreatedAt), cmp.Compare(a.VM.ID, b.VM.ID))
	})
	return all
}

// look returns what one of n VMs uses.
func (o *Observer) look(ctx context.Context, at records.Snapshot, n int) api.VMStats {
	v := at.View()
	s := api.VMStats{ID: v.ID, Name: v.Name, State: v.State, Reason: v.Reason, VCPUs: v.VCPUs, StartedAt: v.StartedAt}
	if at.Busy != "" {
		s.Doing = api.ActionOf(at.Busy).Doing
	}
	s.Disk, s.Base = o.DiskUsage(ctx, v), o.Base(v)
	if at.Run == nil {
		s.StartedAt = nil
		if at.Recovering {
			s.Error = api.AsError(at.Reachable())
		}
		return s
	}
	seen := o.of(at.Run, v.ID)
	s.Host = seen.host(n)
	if err := at.Reachable(); err != nil {
		s.Error = api.AsError(err)
		return s
	}
	s.Guest, s.Error = o.guest(ctx, seen, v.Name)
	return s
}

// seen is what earlier looks have found of an instance, and asked.
type seen struct {
	run *instance.Instance

	mu     sync.Mutex // held while the memory is read
	memory *api.HostMemory
	readAt time.Time
	cost   time.Duration // of the reading

	questions sync.Mutex // guards asked
	asked     *question
}

// of returns what was seen of an instance.
func (o *Observer) of(run *instance.Instance, id string) *seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known := o.seen[id]; known != nil && known.run == run {
		return known
	}
	o.seen[id] = &seen{run: run}
	return o.seen[id]
}

// forget forgets instances that have ended.
func (o *Observer) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, known := range o.seen {
		select {
		case <-known.run.Gone():
			delete(o.seen, id)
		default:
		}
	}
}

// host returns what the VMM of one of n VMs uses.
func (w *seen) host(n int) *api.HostStats {
	m := w.run.Machine()
	s := &api.HostStats{PID: m.PID()}
	meter, ok := m.(driver.Meter)
	if !ok {
		return s
	}
	if used, clock, err := meter.CPUTime(); err == nil {
		ns := int64(used)
		s.CPUNS, s.ClockNS = &ns, int64(clock)
	}
	s.Memory = w.hostMemory(meter, n)
	return s
}

// The kernel walks all pages of a process for its memory: 6 ms for each GiB were measured. All
// readings of n VMs together take one memoryShare-th of a core, so a reading is repeated only after that
// many times its own duration for each of them, but after memoryOld at the latest.
const (
	memoryShare = 400
	memoryOld   = 10 * time.Minute
)

// hostMemory returns the memory of the VMM of one of n VMs; nil if it cannot be read.
func (w *seen) hostMemory(meter driver.Meter, n int) *api.HostMemory {
	w.mu.Lock()
	defer w.mu.Unlock()
	age := time.Since(w.readAt)
	if w.memory != nil && age < min(w.cost*memoryShare*time.Duration(n), memoryOld) {
		known := *w.memory
		known.AgeMS = age.Milliseconds()
		return &known
	}
	began := time.Now()
	bytes, source, err := meter.Memory()
	if err != nil {
		return nil
	}
	w.memory = &api.HostMemory{Bytes: bytes, Source: source}
	w.readAt, w.cost = time.Now(), time.Since(began)
	return w.memory
}

// question is a request to an agent. There is one at a time for each instance: a guest that hangs does
// not collect them.
type question struct {
	began  time.Time
	done   chan struct{} // closed once the rest is set
	ended  time.Time
	health agentproto.Health
	err    error
	taken  bool // a look has used the answer
}

// answered reports whether the answer has come.
func (q *question) answered() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// ask returns the question that is under way, or a new one. late is the answer to the question before if it
// came too late for the look that asked.
func (o *Observer) ask(w *seen) (q, late *question) {
	w.questions.Lock()
	defer w.questions.Unlock()
	if w.asked != nil {
		if !w.asked.answered() {
			return w.asked, nil
		}
		if !w.asked.taken && w.asked.err == nil {
			late = w.asked
		}
	}
	q = &question{began: time.Now(), done: make(chan struct{})}
	w.asked = q
	o.tasks.Go(func() {
		defer close(q.done)
		ctx, cancel := context.WithTimeout(guest.Aside(o.tasks.Context()), guest.AnswerTime)
		defer cancel()
		q.health, q.err = (&guest.Client{Dial: w.run.Open}).Health(ctx)
		q.ended = time.Now()
	})
	return q, late
}

// take marks an answer as used.
func (w *seen) take(q *question) {
	w.questions.Lock()
	defer w.questions.Unlock()
	q.taken = true
}

// guest returns what the guest of an instance says until ctx ends.
func (o *Observer) guest(ctx context.Context, w *seen, name string) (*api.GuestStats, *api.Error) {
	select {
	case <-w.run.Up():
	default:
		return nil, api.Errorf(api.KindTimeout, "the guest boots: it has not answered yet").WithHint("banger vm logs %s", name)
	}
	q, late := o.ask(w)
	if time.Since(q.began) < o.Answer { // otherwise an earlier look has waited in vain
		select {
		case <-q.done:
		case <-ctx.Done():
		}
	}
	switch {
	case q.answered() && q.err == nil:
		w.take(q)
		return guestStats(q.health, 0), nil
	case q.answered():
		return nil, api.AsError(q.err)
	case late != nil:
		return guestStats(late.health, time.Since(late.ended)), nil
	}
	text := "the guest does not answer"
	if suspended(w.run) {
		text += ": a signal has suspended its VMM"
	}
	return nil, api.Errorf(api.KindTimeout, "%s", text).WithHint("banger vm health %s", name)
}

// guestStats returns what an agent said, within what can be true.
func guestStats(h agentproto.Health, age time.Duration) *api.GuestStats {
	s := &api.GuestStats{
		UptimeSeconds: max(0, h.UptimeSeconds), MemoryBytes: max(0, h.MemoryBytes), Sessions: max(0, h.Sessions),
		AgeMS: age.Milliseconds(),
	}
	for _, load := range h.Load {
		s.Load = append(s.Load, max(0, load))
	}
	s.MemoryUsedBytes = s.MemoryBytes - min(max(0, h.MemoryAvailable), s.MemoryBytes)
	if n := h.Network; n != nil {
		s.Network = &api.GuestNetwork{
			Device: n.Device[:min(len(n.Device), maxDevice)], Up: n.Up,
			RxBytes: max(0, n.RxBytes), RxPackets: max(0, n.RxPackets), TxBytes: max(0, n.TxBytes), TxPackets: max(0, n.TxPackets),
		}
	}
	if d := h.Disk; d != nil {
		size := max(0, d.Bytes)
		s.Disk = &api.GuestDisk{Bytes: size, AvailableBytes: min(max(0, d.AvailableBytes), size)}
	}
	return s
}

// maxDevice is the length of the name of a network device (IFNAMSIZ without the NUL, netdevice(7)).
const maxDevice = 15
