package qemu

import (
	"context"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/driver/vmproc"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// monitorWait bounds one exchange with QEMU's monitor.
const monitorWait = 10 * time.Second

// machine is a running QEMU.
type machine struct {
	*vmproc.Machine
}

// Pause implements driver.Pauser.
func (m machine) Pause(ctx context.Context) error { return m.monitor(ctx, "pause", "stop") }

// Resume implements driver.Pauser.
func (m machine) Resume(ctx context.Context) error { return m.monitor(ctx, "resume", "cont") }

// Stalled implements driver.Staller: QEMU stops a guest if the host has no space for its disk
// (werror=enospc, the default of -drive and -blockdev's devices; RunState of its QMP reference).
func (m machine) Stalled(ctx context.Context) (bool, error) {
	status, err := m.status(ctx)
	return status == "io-error", err
}

// Standing implements driver.Stander.
func (m machine) Standing(ctx context.Context) (string, error) {
	status, err := m.status(ctx)
	if err != nil || status == "running" {
		return "", err
	}
	return "QEMU reports: " + status, nil
}

// status returns QEMU's state of the machine (RunState of its QMP reference).
func (m machine) status(ctx context.Context) (string, error) {
	var state struct {
		Status string `json:"status"`
	}
	err := m.ask(ctx, "get the state of", "query-status", &state)
	return state.Status, err
}

func (m machine) monitor(ctx context.Context, verb, command string) error {
	return m.ask(ctx, verb, command, nil)
}

func (m machine) ask(ctx context.Context, verb, command string, result any) error {
	ctx, cancel := context.WithTimeout(ctx, monitorWait)
	defer cancel()
	q, err := dialQMP(ctx, m.Dir())
	if err == nil {
		defer q.Close()
		err = q.Execute(ctx, command, nil, result)
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot %s the VM: %w", verb, err)
	}
	return nil
}

func dialQMP(ctx context.Context, dir string) (*qmp, error) {
	conn, err := fsx.DialUnix(ctx, filepath.Join(dir, paths.VMQMPSocket))
	if err != nil {
		return nil, err
	}
	return newQMP(ctx, conn)
}
