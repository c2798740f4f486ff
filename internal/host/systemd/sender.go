package systemd

import "github.com/godbus/dbus/v5"

// The signals that are received.
const (
	jobRemoved       = "JobRemoved"       // of the manager, org.freedesktop.systemd1(5)
	nameOwnerChanged = "NameOwnerChanged" // of the message bus, D-Bus Specification
)

// sender distinguishes the signals of PID 1 from those of others. On the message bus
// every user may send any signal to everybody (system.conf of dbus-daemon(1) allows
// it), also to a single client, which no match rule excludes. The bus itself writes a
// signal's sender: a unique name, which only one connection ever has.
type sender struct {
	bus  bool   // false: the other end is PID 1 itself
	pid1 string // the unique name of the owner of service, which only root may be; empty: it has none
}

// updateOwner follows the owner of PID 1's name, which changes when PID 1 executes
// itself again. The bus sends this before any message of the new owner.
func (f *sender) updateOwner(s *dbus.Signal) {
	if !f.bus || s.Sender != busName || s.Name != busName+"."+nameOwnerChanged {
		return
	}
	var name, from, to string
	if dbus.Store(s.Body, &name, &from, &to) == nil && name == service {
		f.pid1 = to
	}
}

// is reports whether PID 1's manager sent a signal.
func (f *sender) is(s *dbus.Signal) bool {
	return s.Path == root && (!f.bus || f.pid1 != "" && s.Sender == f.pid1)
}
