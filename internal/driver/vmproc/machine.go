// Package vmproc is the common part of drivers that run each machine as one host process, which
// listens on the agent's socket in the VM's directory.
package vmproc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/host/console"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
	"banger/internal/paths"
	"banger/internal/vmid"
)

// killWait bounds how long a process may take to end after SIGKILL. It has to finish its disk
// writes in flight.
const killWait = 30 * time.Second

// handle is the result of Machine.Handle: a hint, verified before it is used.
type handle struct {
	Version int `json:"version"`
	proc.Identity
}

const handleVersion = 1

// Machine is a VMM process that was proven to be a VM's.
type Machine struct {
	process *proc.Process
	dir     string
	accel   string
}

// Find returns the process that runs the VM with the directory dir: the one that the hint names
// if prove accepts its command line, otherwise the one found among all of the user's processes.
// It returns driver.ErrGone if there is none.
func Find(ctx context.Context, hint json.RawMessage, dir string, prove func(cmdline []string) bool) (*Machine, error) {
	if m := fromHint(hint, dir, prove); m != nil {
		return m, nil
	}
	found, err := proc.Find(ctx, prove)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, driver.ErrGone
	}
	// There cannot be two: the daemon locks the VM's directory, and the VMM its disk. But a
	// process between fork and exec looks like its parent.
	for _, p := range found[1:] {
		p.Close()
	}
	return &Machine{process: found[0], dir: dir}, nil
}

func fromHint(hint json.RawMessage, dir string, prove func(cmdline []string) bool) *Machine {
	var h handle
	if json.Unmarshal(hint, &h) != nil || h.Version != handleVersion {
		return nil
	}
	p, err := proc.OpenIdentity(h.Identity)
	if err != nil {
		return nil
	}
	if args, err := p.Cmdline(); err != nil || !prove(args) {
		p.Close()
		return nil
	}
	return &Machine{process: p, dir: dir}
}

// Survey implements driver.Surveyor for drivers whose machines have the VM's id in their command
// line.
func Survey() (mayRun map[string]bool, err error) {
	return proc.Mentioned(vmid.Length, vmid.Digit)
}

// WithAccel sets what Accel returns.
func (m *Machine) WithAccel(accel string) *Machine {
	m.accel = accel
	return m
}

// Cmdline is the process's command line.
func (m *Machine) Cmdline() ([]string, error) { return m.process.Cmdline() }

// Dir is the VM's directory.
func (m *Machine) Dir() string { return m.dir }

// PID implements driver.Machine.
func (m *Machine) PID() int { return m.process.PID() }

// Accel implements driver.Machine.
func (m *Machine) Accel() string { return m.accel }

// Handle implements driver.Machine.
func (m *Machine) Handle() json.RawMessage { return HandleOf(m.process) }

// HandleOf returns the handle of the machine that p runs.
func HandleOf(p *proc.Process) json.RawMessage {
	data, err := json.Marshal(handle{Version: handleVersion, Identity: p.Identity()})
	if err != nil {
		return nil // a struct of numbers and a string cannot fail
	}
	return data
}

// Done implements driver.Machine.
func (m *Machine) Done() <-chan struct{} { return m.process.Done() }

// Exit implements driver.Machine.
func (m *Machine) Exit() driver.Exit {
	return driver.Exit{Code: m.process.ExitCode(), Message: Reason(m.dir)}
}

// Kill implements driver.Machine.
func (m *Machine) Kill(ctx context.Context) error {
	if err := m.process.Kill(ctx, killWait); err != nil {
		return api.Errorf(api.KindInternal, "cannot end the VMM: %w", err)
	}
	return nil
}

// Suspended implements driver.Meter.
func (m *Machine) Suspended() bool { return m.process.Suspended() }

// Signal implements driver.Signaler.
func (m *Machine) Signal(_ context.Context, sig api.Signal) error {
	number, ok := sig.Number()
	if !ok {
		return api.Errorf(api.KindInvalid, "%.40q does not end a VMM", string(sig))
	}
	err := m.Send(syscall.Signal(number))
	if errors.Is(err, proc.ErrGone) {
		return driver.ErrGone
	}
	return err
}

// Send sends any signal to the VMM.
func (m *Machine) Send(sig syscall.Signal) error { return m.process.Signal(sig) }

// CPUTime implements driver.Meter.
func (m *Machine) CPUTime() (used, clock time.Duration, err error) { return m.process.CPUTime() }

// Memory implements driver.Meter.
func (m *Machine) Memory() (bytes int64, source string, err error) {
	bytes, err = m.process.PSS()
	return bytes, api.MemoryPSS, err
}

// DialGuest implements driver.Machine.
func (m *Machine) DialGuest(ctx context.Context) (net.Conn, error) {
	c, err := fsx.DialUnix(ctx, filepath.Join(m.dir, paths.VMAgentSocket))
	if err != nil {
		return nil, fmt.Errorf("cannot reach the guest's channel: %w", err)
	}
	return c, nil
}

// Release implements driver.Machine.
func (m *Machine) Release() { m.process.Close() }

// The end of the VMM's log that LastWords looks at and returns at most.
const (
	lastBytes = 2 << 10
	lastLines = 5
)

// LastWords returns the last lines of the VMM's log, without control characters: what
// a guest took over writes there, too.
func LastWords(dir string) string {
	f, err := os.Open(filepath.Join(dir, paths.VMLog))
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > lastBytes {
		if _, err := f.Seek(-lastBytes, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, lastBytes))
	if err != nil {
		return ""
	}
	lines := strings.Split(string(bytes.TrimSpace(bytes.ToValidUTF8(data, []byte("?")))), "\n")
	if len(lines) > lastLines {
		lines = lines[len(lines)-lastLines:]
	}
	return console.Sanitize(strings.Join(lines, "\n"))
}
