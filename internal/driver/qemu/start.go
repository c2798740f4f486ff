package qemu

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/driver/vmproc"
	"banger/internal/host/execx"
	"banger/internal/host/proc"
	"banger/internal/paths"
	"banger/internal/vmid"
)

// startWait bounds the time from exec to QEMU's greeting: tens of milliseconds
// on an idle host.
const startWait = 60 * time.Second

// cleanWait bounds the clean-up of a failed start, which does not end with a cancelled context.
const cleanWait = 30 * time.Second

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, s driver.Spec) (driver.Machine, error) {
	accel, err := d.prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	path, err := execx.LookPath(d.opts.Binary, debianPackage)
	if err != nil {
		return nil, err
	}
	if accel == TCG {
		s.Cmdline = d.Clock() + s.Cmdline
	}
	p, err := spawn(path, s, func(files Files) []string { return Args(s, accel, files) })
	if err == nil {
		err = awaitMonitor(ctx, p, s.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, cleanUp(p, s.Dir))
	}
	handle := vmproc.HandleOf(p)
	p.Close()
	return d.Recover(ctx, s.ID, s.Dir, handle)
}

// Recover implements driver.Driver.
func (d *Driver) Recover(ctx context.Context, id, dir string, handle json.RawMessage) (driver.Machine, error) {
	m, err := vmproc.Find(ctx, handle, dir, belongsTo(id, dir))
	if err != nil {
		return nil, err
	}
	args, err := m.Cmdline()
	if err != nil {
		m.Release()
		return nil, driver.ErrGone
	}
	found := machine{m.WithAccel(accelOf(args)), d}
	if isRestored(args) {
		if err := found.endUnlessLoaded(ctx); err != nil {
			m.Release()
			return nil, err
		}
	}
	return found, nil
}

// prepare checks what QEMU would not report clearly, and chooses the accelerator.
func (d *Driver) prepare(ctx context.Context, s driver.Spec) (accel string, err error) {
	switch {
	case ctx.Err() != nil:
		return "", api.Errorf(api.KindCanceled, "cannot start the VM: %w", context.Cause(ctx))
	case !vmid.Valid(s.ID) || !filepath.IsAbs(s.Dir) || s.VCPUs < 1 || s.MemoryBytes < 1:
		return "", api.Errorf(api.KindInvalid, "cannot start VM %.40q: its id, directory, vCPUs or memory are unusable", s.ID)
	case s.DiskFormat != disk.Raw && s.DiskFormat != disk.Qcow2:
		return "", api.Errorf(api.KindInvalid, "cannot start VM %s: no disk format %.40q", s.ID, s.DiskFormat)
	case s.Accel != "" && s.Accel != KVM && s.Accel != TCG:
		return "", api.Errorf(api.KindInvalid, "cannot start VM %s: no accelerator %.40q", s.ID, s.Accel)
	}
	if err := checkFileSize(); err != nil {
		return "", err
	}
	if s.Accel != "" {
		return s.Accel, nil
	}
	found, err := d.Probe(ctx, "", "")
	return found.Accel, err
}

// checkFileSize refuses a limit for the size of files (RLIMIT_FSIZE, getrlimit(2)), which QEMU
// would inherit: beyond it the guest's disk would fail.
func checkFileSize() error {
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, nil, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return nil
	}
	return api.Errorf(api.KindUnsupported, "cannot start a VM: the size limit of this daemon's files is %d bytes, and a disk is larger", limit.Cur).
		WithHint("banger daemon stop, then run the command again in a shell in which ulimit -f is unlimited")
}

// Clock returns the kernel argument with the frequency of the time stamp counter for an
// emulated guest, or "" if it is unknown.
func (d *Driver) Clock() string { return tscArg(d.tsc()) }

// tscArg passes the frequency of the time stamp counter to an emulated guest: on a busy host the
// guest cannot measure it with the emulated timer chip, and then hangs in early boot (package
// tsc). KVM passes it to its guests itself.
func tscArg(khz int64) string {
	if khz <= 0 {
		return ""
	}
	return fmt.Sprintf("tsc_early_khz=%d ", khz)
}

// spawn starts QEMU with the sockets it is to serve.
func spawn(path string, s driver.Spec, args func(Files) []string) (*proc.Process, error) {
	log, err := os.OpenFile(filepath.Join(s.Dir, paths.VMLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, vmproc.HostError("cannot make the VMM's log", err)
	}
	files := vmproc.Files{log}
	defer func() { files.Close() }()
	for _, name := range []string{paths.VMQMPSocket, paths.VMAgentSocket} {
		f, err := vmproc.Listen(filepath.Join(s.Dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	p, err := proc.Spawn(proc.Command{
		Path:  path,
		Args:  append([]string{path}, args(Files{QMP: 3, Agent: 4})...),
		Env:   environment,
		Files: []*os.File{nil, log, log, files[1], files[2]},
	})
	if err != nil {
		return nil, vmproc.HostError("cannot start QEMU", err)
	}
	return p, nil
}

// environment is QEMU's whole environment: it needs nothing, and LC_ALL makes its messages
// readable.
var environment = []string{"LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin"}

// awaitMonitor returns once QEMU runs the machine and serves its monitor. It
// fails when QEMU ends, which is how it refuses arguments.
func awaitMonitor(ctx context.Context, p *proc.Process, dir string) error {
	bounded, cancel := context.WithTimeoutCause(ctx, startWait, fmt.Errorf("QEMU did not answer within %s", startWait))
	defer cancel()
	go func() {
		select {
		case <-p.Done():
			cancel()
		case <-bounded.Done():
		}
	}()
	q, err := monitorIn(dir).open(bounded)
	if err == nil {
		return q.Close()
	}
	select {
	case <-p.Done():
		return refused(p, dir)
	default:
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "cannot start the VM: %w", context.Cause(ctx))
	}
	if refusal := waitGone(p); refusal {
		return refused(p, dir)
	}
	return api.Errorf(api.KindInternal, "cannot start QEMU: %w", err)
}

// waitGone waits a moment for the end of a process that has closed its sockets.
func waitGone(p *proc.Process) bool {
	select {
	case <-p.Done():
		return true
	case <-time.After(2 * time.Second):
		return false
	}
}

func refused(p *proc.Process, dir string) error {
	words := vmproc.LastWords(dir)
	cause, hint := vmproc.Cause(words)
	if cause != "" {
		cause += ": "
	}
	return api.Errorf(api.KindInternal, "cannot start QEMU: %sit ended with status %d; its output: %s", cause, p.ExitCode(), cmp.Or(words, "(nothing)")).
		WithHint("%s", hint)
}

// cleanUp removes everything of a failed start except the VMM's log.
func cleanUp(p *proc.Process, dir string) error {
	var errs []error
	if p != nil {
		ctx, cancel := context.WithTimeout(context.Background(), cleanWait)
		defer cancel()
		errs = append(errs, p.Kill(ctx, cleanWait))
		p.Close()
	}
	for _, name := range []string{paths.VMQMPSocket, paths.VMAgentSocket} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
