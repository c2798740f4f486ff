// Package fake is a VMM driver for tests: its machine is an ordinary process of the host that
// speaks the agent's protocol. Like a VMM, it survives the daemon. Programs that use it call
// GuestMain first. It is never linked into an installed program.
package fake

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/driver/vmproc"
	"banger/internal/host/proc"
	"banger/internal/paths"
)

// FaultFile holds, in a VM's directory, a fault for its next start.
const FaultFile = "fake-fault"

// The faults. A slow guest answers after a duration, as in "slow=300ms".
const (
	FaultRefuse = "refuse" // Start fails, as for a VMM that refuses its arguments
	FaultExit   = "exit"   // the VMM ends while the guest boots
	FaultMute   = "mute"   // the guest never answers
	FaultDeaf   = "deaf"   // the guest does not shut down
	FaultSlow   = "slow"
	FaultOld    = "old" // the agent is one of an older banger, which cannot grow a file system
)

// Options change what the driver does.
type Options struct {
	// Executable calls GuestMain; empty: the running program.
	Executable string
	// FaultFile holds a fault for the next starts of all VMs; the file in a VM's directory
	// takes precedence. Empty: none.
	FaultFile string
}

// Driver starts fake machines.
type Driver struct{ opts Options }

// New returns the driver.
func New(o Options) *Driver { return &Driver{o} }

// Name implements driver.Driver.
func (d *Driver) Name() string { return "fake" }

// Survey implements driver.Surveyor.
func (d *Driver) Survey() (map[string]bool, error) { return vmproc.Survey() }

// Probe implements driver.Driver.
func (d *Driver) Probe(context.Context, string, string) (driver.Capability, error) {
	if _, err := d.executable(); err != nil {
		return driver.Capability{}, err
	}
	return driver.Capability{Version: "1", Accel: "none"}, nil
}

func (d *Driver) executable() (string, error) {
	path := d.opts.Executable
	if path == "" {
		return os.Executable()
	}
	if _, err := os.Stat(path); err != nil {
		return "", api.Errorf(api.KindUnsupported, "the fake VMM is not installed: %w", err)
	}
	return path, nil
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, s driver.Spec) (driver.Machine, error) {
	if ctx.Err() != nil {
		return nil, api.Errorf(api.KindCanceled, "cannot start the VM: %w", context.Cause(ctx))
	}
	path, err := d.executable()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{s.Kernel, s.Initramfs, s.Disk} {
		if _, err := os.Stat(name); err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot start the fake VMM: %w", err)
		}
	}
	p, err := spawn(path, s.Dir, guest{
		id: s.ID, dir: s.Dir, fault: cmp.Or(d.fault(s.Dir), "none"), bootID: rand.Text(), size: sizeOf(s),
	})
	if err == nil {
		err = awaitReady(ctx, p)
	}
	if err != nil {
		return nil, errors.Join(err, cleanUp(p, s.Dir))
	}
	handle := vmproc.HandleOf(p.Process)
	p.Close()
	return d.Recover(ctx, s.ID, s.Dir, handle)
}

// Recover implements driver.Driver.
func (d *Driver) Recover(ctx context.Context, id, dir string, handle json.RawMessage) (driver.Machine, error) {
	m, err := vmproc.Find(ctx, handle, dir, belongsTo(id, dir))
	if err != nil {
		return nil, err
	}
	return machine{m.WithAccel("none")}, nil
}

func (d *Driver) fault(dir string) string {
	for _, name := range []string{filepath.Join(dir, FaultFile), d.opts.FaultFile} {
		if data, err := os.ReadFile(name); err == nil {
			return strings.TrimSpace(string(data))
		}
	}
	return ""
}

// machine is a running fake.
type machine struct{ *vmproc.Machine }

// Pause implements driver.Pauser. It returns when every thread is stopped, which the kernel
// does not report to the signal's sender.
func (m machine) Pause(ctx context.Context) error {
	if err := m.Send(syscall.SIGSTOP); err != nil {
		return err
	}
	return m.standsStill(ctx)
}

// standsStill returns when every thread is stopped.
func (m machine) standsStill(ctx context.Context) error {
	for ctx.Err() == nil && running(m.PID()) {
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// running reports whether a thread of the process has not been stopped yet
// (proc_pid_stat(5): the state follows the name in parentheses).
func running(pid int) bool {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, name := range stats {
		data, err := os.ReadFile(name)
		end := bytes.LastIndexByte(data, ')')
		if err == nil && end >= 0 && len(data) > end+2 && !bytes.ContainsRune([]byte("TZX"), rune(data[end+2])) {
			return true
		}
	}
	return false
}

// Resume implements driver.Pauser.
func (m machine) Resume(context.Context) error { return m.Send(syscall.SIGCONT) }

// GrowDisk implements driver.Grower.
func (m machine) GrowDisk(_ context.Context, bytes int64) error {
	path := filepath.Join(m.Dir(), paths.VMDisk)
	if info, err := os.Stat(path); err != nil || info.Size() >= bytes {
		return err
	}
	return os.Truncate(path, bytes)
}

// started is a fake VMM that has not reported yet that it runs.
type started struct {
	*proc.Process
	ready *os.File // reads one byte, or the end if the VMM has ended
	dir   string
}

func spawn(path, dir string, g guest) (*started, error) {
	log, err := os.OpenFile(filepath.Join(dir, paths.VMLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, vmproc.HostError("cannot make the VMM's log", err)
	}
	files := vmproc.Files{log}
	defer func() { files.Close() }()
	socket, err := vmproc.Listen(filepath.Join(dir, paths.VMAgentSocket))
	if err != nil {
		return nil, err
	}
	files = append(files, socket)
	ready, tell, err := os.Pipe()
	if err != nil {
		return nil, vmproc.HostError("cannot make a pipe", err)
	}
	files = append(files, tell)
	p, err := proc.Spawn(proc.Command{
		Path:  path,
		Args:  g.args(path),
		Env:   os.Environ(),
		Files: []*os.File{nil, log, log, socket, tell},
	})
	if err != nil {
		ready.Close()
		return nil, vmproc.HostError("cannot start the fake VMM", err)
	}
	return &started{Process: p, ready: ready, dir: dir}, nil
}

// awaitReady returns once the VMM serves its sockets.
func awaitReady(ctx context.Context, p *started) error {
	defer p.ready.Close()
	stop := context.AfterFunc(ctx, func() { p.ready.Close() })
	defer stop()
	if n, _ := p.ready.Read(make([]byte, 1)); n == 1 {
		return nil
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "cannot start the VM: %w", context.Cause(ctx))
	}
	select {
	case <-p.Done():
	case <-time.After(cleanWait):
	}
	return api.Errorf(api.KindInternal, "cannot start the fake VMM: it ended with status %d; its output: %s", p.ExitCode(), vmproc.LastWords(p.dir))
}

const cleanWait = 10 * time.Second

func cleanUp(p *started, dir string) error {
	var killed error
	if p != nil {
		killed = p.Kill(context.Background(), cleanWait)
		p.Close()
	}
	removed := os.Remove(filepath.Join(dir, paths.VMAgentSocket))
	if errors.Is(removed, os.ErrNotExist) {
		removed = nil
	}
	return errors.Join(killed, removed)
}
