package systemd

import (
	"context"
	"runtime"
	"strconv"

	"github.com/godbus/dbus/v5"

	"banger/api"
)

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// aux is an element of StartTransientUnit's last argument: none are used.
type aux struct {
	Name       string
	Properties []property
}

// StartTransient starts u and returns when its program was executed. If that fails, it
// says why and leaves no unit. The error is of kind api.KindExists if a unit of that
// name is loaded already.
func (b *Bus) StartTransient(ctx context.Context, u Unit) error {
	forget, err := b.StartHeld(ctx, u)
	if err == nil {
		forget()
	}
	return err
}

// StartHeld is StartTransient, except that systemd keeps the unit after its end until
// forget is called, so that State reports how the program ended. Without a message bus
// systemd does not keep it.
func (b *Bus) StartHeld(ctx context.Context, u Unit) (forget func(), err error) {
	if len(u.Exec) == 0 {
		return nil, api.Errorf(api.KindInternal, "cannot start %s: the program is missing", u.Name)
	}
	l, err := b.get(ctx)
	if err != nil {
		return nil, err
	}
	err = l.start(ctx, u)
	if unsent(err) {
		l.conn.Close()
		if l, err = b.get(ctx); err != nil {
			return nil, err
		}
		err = l.start(ctx, u)
	}
	forget = func() { l.unref(u.Name) }
	if err != nil {
		forget()
		return nil, err
	}
	return forget, nil
}

func (l *link) start(ctx context.Context, u Unit) error {
	properties := u.properties()
	if l.bus {
		// Keeps a failed unit until its state was read.
		properties = append(properties, property{"AddRef", dbus.MakeVariant(true)})
	}
	result, err := l.job(ctx, u.Name, "StartTransientUnit", u.Name, "fail", properties, []aux{})
	runtime.KeepAlive(u)
	if err != nil {
		return explain("start", u.Name, err)
	}
	if result == done {
		return nil
	}
	// The caller may have given up by now; the unit must be removed nevertheless.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	state, _ := l.state(after, u.Name)
	_ = l.call(after, "ResetFailedUnit", []any{u.Name}) // it may be gone already
	return failedStart(u.Name, result, state)
}

// unref releases the reference to a unit and does not wait for the answer: the end of
// the connection releases it, too.
func (l *link) unref(unit string) {
	if !l.bus {
		return
	}
	l.conn.Object(service, unitPath(unit)).Go(unitFace+".Unref", dbus.FlagNoReplyExpected, nil)
}

func failedStart(unit, result string, state State) error {
	err := api.Errorf(api.KindInternal, "cannot start %s: the job's result is %q%s", unit, result, state.Why())
	return err.WithHint("journalctl -u %s", unit)
}
