package roothelper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
	"banger/internal/host/systemd"
	"banger/internal/rootapi"
	"banger/internal/vmid"
)

// readyTime bounds the time from the start of a VM's unit until its VMM serves its sockets.
const readyTime = 30 * time.Second

// vmStart starts a VM's VMM, or returns the running one.
func (h *Helper) vmStart(ctx context.Context, c rootapi.VMStartCall, logs []*os.File) (rootapi.Process, []*os.File, error) {
	if c.Slot >= h.Settings.UIDCount {
		return rootapi.Process{}, nil, api.Errorf(api.KindInvalid, "slot %d is greater than %d, the number of slots of this installation", c.Slot, h.Settings.UIDCount)
	}
	done, err := h.shared.use(ctx)
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	defer done()
	watch := stopwatch{last: time.Now()}
	if p, j, err := h.findOrAwait(ctx, c.ID, proc.Identity{}); err != nil || p != nil {
		if err != nil {
			return rootapi.Process{}, nil, err
		}
		defer p.Close()
		answer, err := describe(p, j)
		if err = errors.Join(err, h.sealServing(j)); err != nil {
			return answer, nil, err
		}
		file, err := p.Process().File()
		if err != nil {
			return answer, nil, err
		}
		return answer, []*os.File{file}, nil
	}
	watch.lap("find")
	for _, f := range logs {
		if err := checkLog(f, h.Owner); err != nil {
			return rootapi.Process{}, nil, err
		}
	}
	if err := h.bootFiles().require(c.Kernel, c.Initramfs); err != nil {
		return rootapi.Process{}, nil, err
	}
	s, err := h.prepare(ctx, c, logs)
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	defer s.close()
	watch.lap("jail")
	answer, pidfd, err := h.launch(ctx, c, s, &watch)
	if err != nil {
		return answer, nil, err
	}
	return answer, append([]*os.File{pidfd}, s.take()...), nil
}

// checkLog refuses anything but a log file that belongs to the owner and is open for
// appending: the VMM writes to it until it ends.
func checkLog(f *os.File, owner int) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != owner ||
		flags&unix.O_ACCMODE != unix.O_WRONLY || flags&unix.O_APPEND == 0 {
		return api.Errorf(api.KindInvalid, "a log must be a file that belongs to the owner and is open for appending only")
	}
	return nil
}

// start is a VMM that is about to be started.
type start struct {
	jail       jail
	unit       systemd.Unit
	guestReady *os.File // listening socket on which the guest reports that it is ready; nil for QEMU
}

// close closes what was not handed out.
func (s *start) close() {
	if s.guestReady != nil {
		s.guestReady.Close()
	}
}

// take hands out the socket guestReady.
func (s *start) take() []*os.File {
	if s.guestReady == nil {
		return nil
	}
	files := []*os.File{s.guestReady}
	s.guestReady = nil
	return files
}

// prepare fills the jail and describes the unit.
func (h *Helper) prepare(ctx context.Context, c rootapi.VMStartCall, logs []*os.File) (*start, error) {
	uid := h.Settings.uid(c.Slot)
	if c.VMM == rootapi.QEMU {
		return h.prepareQEMU(ctx, c, uid, logs)
	}
	programs, err := h.programs.firecracker(h.Settings)
	if err != nil {
		return nil, err
	}
	config, err := firecracker.Config(firecracker.Spec{
		VCPUs: c.VCPUs, MemoryMiB: int(c.MemoryMiB), Cmdline: c.Cmdline, Network: !c.NoNetwork,
	})
	if err != nil {
		return nil, err
	}
	args, err := firecracker.JailerArgs(firecracker.Jail{ID: c.ID, Exec: programs.firecracker, UID: uid, GID: uid})
	if err != nil {
		return nil, err
	}
	j, err := h.makeJail(ctx, c.ID, filepath.Base(programs.firecracker), uid)
	if err != nil {
		return nil, err
	}
	s := &start{jail: j, unit: h.unit(c, logs)}
	s.unit.Exec = append([]string{programs.jailer}, args...)
	s.unit.Sandbox = firecrackerSandbox(s.unit.Sandbox)
	err = errors.Join(
		h.fill(j, c, uid),
		writeNew(filepath.Join(j.root, firecracker.ConfigFile), config),
		os.Symlink(filepath.Join(j.root, firecracker.APISocket), h.shortSocket(c.ID)),
	)
	if err == nil {
		s.guestReady, err = listen(filepath.Join(j.root, firecracker.ReadySocket), uid)
	}
	if err != nil {
		s.close()
		return nil, diskError("fill the jail", err)
	}
	return s, nil
}

func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

// listen binds a socket to which only the VM's user can connect.
func listen(path string, uid int) (*os.File, error) {
	l, err := fsx.ListenUnix(path)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := os.Lchown(path, uid, uid); err != nil {
		return nil, err
	}
	return l.File()
}

// launch starts the unit, waits until the VMM serves its sockets, and seals the jail.
func (h *Helper) launch(ctx context.Context, c rootapi.VMStartCall, s *start, watch *stopwatch) (rootapi.Process, *os.File, error) {
	ready, err := watchFor(s.jail.root, lastSocket(s.jail))
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	defer ready.close()
	forget, err := h.Units.StartHeld(ctx, s.unit)
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	defer forget()
	watch.lap("unit")
	p, pidfd, err := h.mainProcess(ctx, s.unit.Name)
	if err == nil && p == nil {
		err = errEnded
	}
	if err == nil {
		defer p.Close()
		err = ready.wait(pidfd, cmp.Or(h.ready, readyTime))
	}
	if err == nil {
		err = h.seal(s.jail)
	}
	if errors.Is(err, errEnded) {
		err = h.ended(ctx, c)
	}
	if err != nil {
		if pidfd != nil {
			pidfd.Close()
		}
		return rootapi.Process{}, nil, err
	}
	watch.lap("vmm")
	id := p.Identity()
	return rootapi.Process{
		PID: id.PID, StartTime: id.StartTime, BootID: id.BootID, VMM: c.VMM, Accel: c.Accel, Timing: watch.laps,
	}, pidfd, nil
}

// mainProcess returns the process that the unit runs, or nil if it has ended.
func (h *Helper) mainProcess(ctx context.Context, unit string) (*proc.Process, *os.File, error) {
	// systemd knows the unit's process: it has started it.
	pid, err := h.Units.MainPID(ctx, unit)
	if err != nil || pid == 0 {
		return nil, nil, err
	}
	p, err := proc.Open(pid)
	if errors.Is(err, proc.ErrGone) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	// The pid may have been reused before it was opened, but not if it is still the unit's:
	// systemd reports that there is none before it reaps the process.
	again, err := h.Units.MainPID(ctx, unit)
	if err == nil && again == pid {
		var pidfd *os.File
		if pidfd, err = p.File(); err == nil {
			return p, pidfd, nil
		}
	}
	p.Close()
	return nil, nil, err
}

// How long systemd may take to notice that a VMM has ended, and how often to ask it.
const (
	endedTime  = 2 * time.Second
	endedPause = 20 * time.Millisecond
)

// ended returns the error of a VMM that ended before it served its sockets. The reason is in
// its log, which belongs to the owner: the daemon reads it (package vmproc), root does not.
func (h *Helper) ended(ctx context.Context, c rootapi.VMStartCall) error {
	unit := vmid.Unit(c.ID)
	ctx, cancel := context.WithTimeout(ctx, endedTime)
	defer cancel()
	var how string
	_ = tryEvery(ctx, endedPause, func() bool {
		state, err := h.Units.State(ctx, unit)
		how = state.Why()
		return err != nil || state.Ended()
	})
	return api.Errorf(api.KindInternal, "cannot start VM %s: %s ended at once%s", c.ID, c.VMM, how).
		WithHint("journalctl -u %s; banger doctor", unit)
}

// stopwatch measures the parts of a start.
type stopwatch struct {
	last time.Time
	laps []api.StepTiming
}

func (w *stopwatch) lap(part string) {
	now := time.Now()
	w.laps = append(w.laps, api.StepTiming{Step: part, Milliseconds: float64(now.Sub(w.last).Microseconds()) / 1000})
	w.last = now
}

// vmDial connects to a socket of the VM's VMM. The VMM may have filled the jail: the socket is
// opened without following links, and the process that serves it must be the VMM.
func (h *Helper) vmDial(ctx context.Context, c rootapi.VMDialCall) (any, []*os.File, error) {
	p, j, err := h.findOrAwait(ctx, c.ID, proc.Identity{})
	if err != nil {
		return nil, nil, err
	}
	if p == nil {
		return nil, nil, api.Errorf(api.KindConflict, "VM %s is not running", c.ID)
	}
	defer p.Close()
	conn, err := h.dial(ctx, j, socketName(j, c.Socket))
	if err != nil {
		return nil, nil, api.Errorf(api.KindInternal, "cannot connect to VM %s: %w", c.ID, err)
	}
	defer conn.Close()
	cred, err := peer(conn)
	if err != nil {
		return nil, nil, err
	}
	if int(cred.Pid) != p.PID() {
		return nil, nil, api.Errorf(api.KindDenied, "the socket of VM %s is served by process %d, which is not its VMM", c.ID, cred.Pid)
	}
	file, err := conn.File()
	if err != nil {
		return nil, nil, err
	}
	return nil, []*os.File{file}, nil
}

func socketName(j jail, socket string) string {
	switch {
	case j.program == qemuProgram && socket == rootapi.SocketAgent:
		return qemuAgent
	case j.program == qemuProgram:
		return qemuMonitor
	case socket == rootapi.SocketAgent:
		return firecracker.VsockSocket
	}
	return firecracker.APISocket
}

func (h *Helper) dial(ctx context.Context, j jail, name string) (*net.UnixConn, error) {
	root, err := h.openRoot(j)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	socket, err := openBeneath(root, name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", socket.Fd()))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}
