package qemu

import (
	"context"
	"net"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// monitorWait bounds one exchange with QEMU's monitor.
const monitorWait = 10 * time.Second

// Monitor connects to the monitor of a running QEMU, for one exchange: QEMU serves one client at
// a time.
type Monitor func(ctx context.Context) (net.Conn, error)

// monitorIn is the monitor of the machine whose sockets are in dir.
func monitorIn(dir string) Monitor {
	return func(ctx context.Context) (net.Conn, error) {
		return fsx.DialUnix(ctx, filepath.Join(dir, paths.VMQMPSocket))
	}
}

// Pause stops the machine's processors. It can be repeated.
func (m Monitor) Pause(ctx context.Context) error { return m.ask(ctx, "pause", "stop", nil, nil) }

// Resume lets them run again. It can be repeated.
func (m Monitor) Resume(ctx context.Context) error { return m.ask(ctx, "resume", "cont", nil, nil) }

// Standing returns why the machine's processors are stopped, or "" if they run.
func (m Monitor) Standing(ctx context.Context) (string, error) {
	status, err := m.status(ctx)
	if err != nil || status == "running" {
		return "", err
	}
	return "QEMU reports: " + status, nil
}

// status returns QEMU's state of the machine (RunState of its QMP reference).
func (m Monitor) status(ctx context.Context) (string, error) {
	var state struct {
		Status string `json:"status"`
	}
	err := m.ask(ctx, "get the state of", "query-status", nil, &state)
	return state.Status, err
}

// resize are the arguments of block_resize (QMP reference).
type resize struct {
	Node string `json:"node-name"`
	Size int64  `json:"size"`
}

func (m Monitor) grow(ctx context.Context, bytes int64) error {
	return m.ask(ctx, "grow the disk of", "block_resize", resize{diskNode, bytes}, nil)
}

// ask has the monitor execute a command.
func (m Monitor) ask(ctx context.Context, verb, command string, arguments, result any) error {
	ctx, cancel := context.WithTimeout(ctx, monitorWait)
	defer cancel()
	q, err := m.open(ctx)
	if err == nil {
		defer q.Close()
		err = q.Execute(ctx, command, arguments, result)
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot %s the VM: %w", verb, err)
	}
	return nil
}

// open connects, and leaves negotiation mode.
func (m Monitor) open(ctx context.Context) (*qmp, error) {
	conn, err := m(ctx)
	if err != nil {
		return nil, err
	}
	return newQMP(ctx, conn)
}
