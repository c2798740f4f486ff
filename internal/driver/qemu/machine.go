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
	err := ask(ctx, m.Dir(), "get the state of", "query-status", nil, &state)
	return state.Status, err
}

func (m machine) monitor(ctx context.Context, verb, command string) error {
	return ask(ctx, m.Dir(), verb, command, nil, nil)
}

// resize are the arguments of block_resize (QMP reference).
type resize struct {
	Node string `json:"node-name"`
	Size int64  `json:"size"`
}

// GrowDisk implements driver.Grower. QEMU tells the guest, by an interrupt.
func (m machine) GrowDisk(ctx context.Context, bytes int64) error { return grow(ctx, m.Dir(), bytes) }

func grow(ctx context.Context, dir string, bytes int64) error {
	return ask(ctx, dir, "grow the disk of", "block_resize", resize{diskNode, bytes}, nil)
}

// ask has the monitor of the machine in dir execute a command.
func ask(ctx context.Context, dir, verb, command string, arguments, result any) error {
	ctx, cancel := context.WithTimeout(ctx, monitorWait)
	defer cancel()
	q, err := dialQMP(ctx, dir)
	if err == nil {
		defer q.Close()
		err = q.Execute(ctx, command, arguments, result)
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
