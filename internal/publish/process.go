package publish

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"banger/internal/host/fsx"
	"banger/internal/host/proc"
	"banger/internal/paths"
)

// Close ends a VM's forwarder, and with it the ports and their connections.
func (m *Manager) Close(ctx context.Context, id string) {
	defer m.lock(id)()
	m.close(ctx, id)
}

func (m *Manager) close(ctx context.Context, id string) {
	s := m.get(id)
	if s == nil {
		return
	}
	m.set(id, nil)
	if s.process != nil {
		m.end(ctx, s.process)
	}
	if err := os.Remove(filepath.Join(m.paths.VM(id), paths.VMPortsSocket)); err != nil && !errors.Is(err, os.ErrNotExist) {
		m.log.Warn("cannot remove a socket", "vm", id, "error", err)
	}
}

// end ends a forwarder and releases it.
func (m *Manager) end(ctx context.Context, p *proc.Process) {
	defer p.Close()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return // it has ended
	}
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-p.Done():
		return
	case <-timer.C:
	}
	if err := p.Kill(ctx, killTime); err != nil {
		m.log.Error("cannot end the forwarder of a VM's ports", "pid", p.PID(), "error", err)
	}
}

// spawn starts a forwarder that serves nothing yet.
func (m *Manager) spawn(id string) (*proc.Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir := m.paths.VM(id)
	control, err := listen(filepath.Join(dir, paths.VMPortsSocket))
	if err != nil {
		return nil, err
	}
	defer control.Close()
	log, err := os.OpenFile(filepath.Join(dir, paths.VMPortsLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return proc.Spawn(proc.Command{
		Path: program, Args: arguments(program, id, dir, m.system), Env: environment(program),
		Files: []*os.File{nil, log, log, control},
	})
}

func listen(path string) (*os.File, error) {
	l, err := fsx.ListenUnix(path)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.File()
}

// environment returns this process's environment with the daemon's program, which the forwarder
// starts if none runs: after an update it is not this program.
func environment(program string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "BANGERD=") })
	return append(env, "BANGERD="+currentProgram(program))
}

// currentProgram is the daemon of the installation that program belongs to: below
// versions/VERSION, the target of the link "current" is used.
func currentProgram(program string) string {
	versions := filepath.Dir(filepath.Dir(program))
	current := filepath.Join(filepath.Dir(versions), "current", filepath.Base(program))
	if _, err := os.Stat(current); err == nil && filepath.Base(versions) == "versions" {
		return current
	}
	return program
}
