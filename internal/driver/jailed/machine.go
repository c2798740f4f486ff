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
	"banger/internal/proc"
	"banger/internal/rootapi"
)

// Machine is a VMM in its jail.
type Machine struct {
	id, dir string
	process rootapi.Process
	held    *proc.Process
	helper  Helper
	vsock   bool  // the agent is reached by vsock
	bell    *bell // nil where there is none, and after a recovery
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
		return nil // numbers and texts cannot fail
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

// DialGuest implements driver.Machine. By vsock it waits for the agent's
// doorbell after a start; otherwise an agent that is not there refuses.
func (m *Machine) DialGuest(ctx context.Context) (net.Conn, error) {
	if err := m.awaitBell(ctx); err != nil {
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
		return nil, api.Errorf(api.KindInternal, "bangerd-root gave no connection to VM %s", m.id)
	}
	return net.FileConn(files[0])
}

// bell is where the agent's doorbell arrives. Whoever connects there is the VM's
// own VMM: the socket is in its jail.
type bell struct {
	listener *net.UnixListener
	over     chan struct{} // closed when it rang, or cannot any more
}

// newBell listens on a socket that the helper bound.
func newBell(f *os.File) (*bell, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, errors.New("it is no Unix socket")
	}
	// It lies in the jail, and is removed with that.
	unixListener.SetUnlinkOnClose(false)
	b := &bell{listener: unixListener, over: make(chan struct{})}
	go b.listen()
	return b, nil
}

func (b *bell) listen() {
	defer close(b.over)
	if conn, err := b.listener.Accept(); err == nil {
		conn.Close()
	}
	b.listener.Close()
}

// close lets go of the bell. One that is nil rang before.
func (b *bell) close() {
	if b != nil {
		b.listener.Close()
		<-b.over
	}
}

// awaitBell waits until the guest's agent has rung, if it is still to do so.
func (m *Machine) awaitBell(ctx context.Context) error {
	if m.bell == nil {
		return nil
	}
	select {
	case <-m.bell.over:
		return nil
	case <-m.held.Done():
		return api.Errorf(api.KindConflict, "the VMM of VM %s has ended", m.id)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release implements driver.Machine.
func (m *Machine) Release() {
	m.bell.close()
	m.held.Close()
}
