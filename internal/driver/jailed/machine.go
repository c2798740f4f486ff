package jailed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/firecracker"
	"banger/internal/driver/vmproc"
	"banger/internal/host/proc"
	"banger/internal/rootapi"
)

// Machine is a VMM in its jail.
type Machine struct {
	id, dir string
	process rootapi.Process
	held    *proc.Process
	helper  Helper
	vsock   bool        // the agent listens on vsock
	ready   *guestReady // nil if there is none, and after a recovery
}

// PID implements driver.Machine.
func (m *Machine) PID() int { return m.held.PID() }

// Accel implements driver.Machine.
func (m *Machine) Accel() string { return m.process.Accel }

// Handle implements driver.Machine.
func (m *Machine) Handle() json.RawMessage {
	p := m.process
	p.Timing, p.Found = nil, false
	data, err := json.Marshal(handle{Version: handleVersion, Process: p})
	if err != nil {
		return nil // numbers and strings cannot fail
	}
	return data
}

// Done implements driver.Machine.
func (m *Machine) Done() <-chan struct{} { return m.held.Done() }

// Exit implements driver.Machine.
func (m *Machine) Exit() driver.Exit {
	return driver.Exit{Code: m.held.ExitCode(), Message: vmproc.Reason(m.dir)}
}

// Kill implements driver.Machine.
func (m *Machine) Kill(ctx context.Context) error {
	if _, err := m.helper.Do(ctx, rootapi.VMKillCall{VM: rootapi.VM{ID: m.id}}, nil); err != nil {
		return err
	}
	select {
	case <-m.held.Done():
		return nil
	case <-ctx.Done():
		return api.Errorf(api.KindTimeout, "the VMM of VM %s has not ended: %w", m.id, context.Cause(ctx))
	}
}

// Signal implements driver.Signaler.
func (m *Machine) Signal(ctx context.Context, sig api.Signal) error {
	_, err := m.helper.Do(ctx, rootapi.VMKillCall{VM: rootapi.VM{ID: m.id}, Signal: sig}, nil)
	return err
}

// DialGuest implements driver.Machine. With vsock it waits, after a start, until the agent has
// reported that it is ready; otherwise an agent that does not run yet refuses the connection.
func (m *Machine) DialGuest(ctx context.Context) (net.Conn, error) {
	if err := m.awaitReady(ctx); err != nil {
		return nil, err
	}
	conn, err := m.dial(ctx, rootapi.SocketAgent)
	if err != nil || !m.vsock {
		return conn, err
	}
	if err := firecracker.Connect(ctx, conn, firecracker.AgentPort); err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot reach the guest's agent: %w", err)
	}
	return conn, nil
}

// Dial connects to one of the VMM's sockets.
func (m *Machine) dial(ctx context.Context, socket string) (net.Conn, error) {
	files, err := m.helper.Do(ctx, rootapi.VMDialCall{VM: rootapi.VM{ID: m.id}, Socket: socket}, nil)
	if err != nil {
		return nil, err
	}
	defer rootapi.CloseAll(files)
	if len(files) != 1 {
		return nil, api.Errorf(api.KindInternal, "bangerd-root returned no connection to VM %s", m.id)
	}
	return net.FileConn(files[0])
}

// guestReady waits for the agent's connection to the ready socket. Only the VM's own VMM can
// connect to it: the socket is in its jail.
type guestReady struct {
	listener *net.UnixListener
	over     chan struct{} // closed when the agent has connected, or cannot any more
}

// newGuestReady listens on a socket that the helper bound.
func newGuestReady(f *os.File) (*guestReady, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, errors.New("it is not a Unix socket")
	}
	// It is in the jail, and removed with it.
	unixListener.SetUnlinkOnClose(false)
	b := &guestReady{listener: unixListener, over: make(chan struct{})}
	go b.listen()
	return b, nil
}

func (b *guestReady) listen() {
	defer close(b.over)
	if conn, err := b.listener.Accept(); err == nil {
		conn.Close()
	}
	b.listener.Close()
}

// close closes the socket. A nil guestReady has been used before.
func (b *guestReady) close() {
	if b != nil {
		b.listener.Close()
		<-b.over
	}
}

// awaitReady waits until the guest's agent has reported that it is ready, if it has not yet.
func (m *Machine) awaitReady(ctx context.Context) error {
	if m.ready == nil {
		return nil
	}
	select {
	case <-m.ready.over:
		return nil
	case <-m.held.Done():
		return api.Errorf(api.KindConflict, "the VMM of VM %s has ended", m.id)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release implements driver.Machine.
func (m *Machine) Release() {
	m.ready.close()
	m.held.Close()
}
