package systemd

import (
	"context"
	"fmt"
	"sync"

	"github.com/godbus/dbus/v5"
)

// ended is the end of one job, from the signal JobRemoved.
type ended struct {
	job    dbus.ObjectPath
	result string
}

// jobs passes the ends of jobs to the callers that wait for them.
type jobs struct {
	mu      sync.Mutex
	waiting map[chan ended]string // the unit's name
}

// perUnit bounds the ends of a unit's jobs between the call that starts a job and the
// wait for it: there is one job per unit at a time.
const perUnit = 16

// watch starts to collect the ends of a unit's jobs. A job may end before the call that
// started it returns, so watch comes before the call.
func (j *jobs) watch(unit string) chan ended {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waiting == nil {
		j.waiting = map[chan ended]string{}
	}
	ends := make(chan ended, perUnit)
	j.waiting[ends] = unit
	return ends
}

func (j *jobs) unwatch(ends chan ended) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.waiting, ends)
}

// follow passes on signals until the connection closes their channel.
func (j *jobs) follow(signals <-chan *dbus.Signal, from sender) {
	for s := range signals {
		from.updateOwner(s)
		var id uint32
		var e ended
		var unit string
		if s.Name == manager+"."+jobRemoved && from.is(s) && dbus.Store(s.Body, &id, &e.job, &unit, &e.result) == nil {
			j.deliver(unit, e)
		}
	}
}

func (j *jobs) deliver(unit string, e ended) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for ends, of := range j.waiting {
		if of == unit {
			select {
			case ends <- e:
			default: // a caller that does not receive must not block the others
			}
		}
	}
}

// job calls a method that starts a job of a unit, and waits for the job's end. The
// result is "done" on success, see org.freedesktop.systemd1(5).
func (l *link) job(ctx context.Context, unit, method string, args ...any) (string, error) {
	ends := l.jobs.watch(unit)
	defer l.jobs.unwatch(ends)
	var path dbus.ObjectPath
	if err := l.call(ctx, method, args, &path); err != nil {
		return "", err
	}
	for {
		select {
		case e := <-ends:
			if e.job == path && e.result == done {
				return done, l.confirm(ctx, unit, method)
			}
			if e.job == path {
				return e.result, nil
			}
		case <-l.conn.Context().Done():
			return "", errLost
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// done is the result of a successful job.
const done = "done"

// confirm checks with the unit itself that a job has done its work: after a stop,
// callers remove what the unit used; after a start, they use the unit.
func (l *link) confirm(ctx context.Context, unit, method string) error {
	var active string
	err := l.conn.Object(service, unitPath(unit)).CallWithContext(ctx, propsFace+".Get", 0, unitFace, "ActiveState").Store(&active)
	if noSuchUnit(err) {
		active, err = "inactive", nil // a unit that has ended may be unloaded by now
	}
	if err != nil {
		return err
	}
	stopped := active == "inactive" || active == "failed"
	if method == "StopUnit" && !stopped || method != "StopUnit" && active == "activating" {
		return fmt.Errorf("systemd reports that the job is done, but that the unit is %s", active)
	}
	return nil
}
