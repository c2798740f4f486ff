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
	"banger/internal/fsx"
	"banger/internal/proc"
	"banger/internal/rootapi"
	"banger/internal/systemd"
	"banger/internal/vmid"
)

// readyTime bounds the time from the start of a VM's unit until its VMM serves.
const readyTime = 30 * time.Second

// vmStart starts a VM's VMM, or returns the one that runs.
func (h *Helper) vmStart(ctx context.Context, c rootapi.VMStartCall, logs []*os.File) (rootapi.Process, []*os.File, error) {
	if c.Slot >= h.Settings.UIDCount {
		return rootapi.Process{}, nil, api.Errorf(api.KindInvalid, "slot %d is beyond the %d that this installation has", c.Slot, h.Settings.UIDCount)
	}
	done, err := h.common.use(ctx)
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
		if err != nil {
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
	if err := h.mustKeep(c.Kernel, c.Initramfs); err != nil {
		return rootapi.Process{}, nil, err
	}
	s, err := h.prepare(c, logs)
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

// checkLog refuses what is no log file of the owner's, open for appending: the
// VMM writes there for as long as it lives.
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
		return api.Errorf(api.KindInvalid, "a log must be a file of the owner's, open for appending only")
	}
	return nil
}

// start is a VMM that is about to be started.
type start struct {
	jail jail
	unit systemd.Unit
	bell *os.File // listening socket of the doorbell; nil for QEMU
}

// close lets go of what was not handed out.
func (s *start) close() {
	if s.bell != nil {
		s.bell.Close()
	}
}

// take hands out the doorbell.
func (s *start) take() []*os.File {
	if s.bell == nil {
		return nil
	}
	files := []*os.File{s.bell}
	s.bell = nil
	return files
}

// prepare fills the jail and decides on the unit.
func (h *Helper) prepare(c rootapi.VMStartCall, logs []*os.File) (*start, error) {
	uid := h.uid(c.Slot)
	if c.VMM == rootapi.QEMU {
		return h.prepareQEMU(c, uid, logs)
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
	j, err := h.makeJail(c.ID, filepath.Base(programs.firecracker), uid)
	if err != nil {
		return nil, err
	}
	s := &start{jail: j, unit: h.unit(c, logs)}
	s.unit.Exec = append([]string{programs.jailer}, args...)
	err = errors.Join(
		h.fill(j, c, uid),
		writeNew(filepath.Join(j.root, firecracker.ConfigFile), config),
		os.Symlink(filepath.Join(j.root, firecracker.APISocket), h.shortSocket(c.ID)),
	)
	if err == nil {
		s.bell, err = listen(filepath.Join(j.root, firecracker.DoorbellSocket), uid)
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

// listen binds a socket that the VM's user alone can connect to.
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

// What a VMM needs beside the guest's memory: Firecracker promises 5 MiB, QEMU
// takes 60 and a cache of translated code; what the kernel charges for pages of the
// disk that are on their way is reclaimed when it must be.
const memoryBeside = 768 << 20

// unit is what the units of both VMMs have in common.
func (h *Helper) unit(c rootapi.VMStartCall, logs []*os.File) systemd.Unit {
	return systemd.Unit{
		Name: vmid.Unit(c.ID), Description: "banger VM " + c.ID, Slice: vmid.Slice,
		Stdout: logs[0], Stderr: logs[1],
		MemoryMax: uint64(c.MemoryMiB)<<20 + memoryBeside,
		// The vCPUs, and half a processor for the devices' work.
		CPUQuota: time.Duration(c.VCPUs)*time.Second + time.Second/2, TasksMax: uint64(c.VCPUs) + 64,
		DevicePolicy: "closed", DeviceAllow: h.devices(c.ID),
		KillMode: "mixed", TimeoutStop: 5 * time.Second, OOMPolicy: "kill",
	}
}

// devices are what a VMM may open and, for the jailer, make nodes of.
func (h *Helper) devices(id string) []systemd.Device {
	allow := []systemd.Device{{Path: "/dev/kvm", Access: "rwm"}, {Path: "/dev/net/tun", Access: "rwm"}}
	if d, found, err := h.Blocks.Lookup(id); err == nil && found {
		allow = append(allow, systemd.Device{Path: fmt.Sprintf("/dev/block/%d:%d", d.Major, d.Minor), Access: "rw"})
	}
	return allow
}

// launch starts the unit and waits until the VMM serves its sockets.
func (h *Helper) launch(ctx context.Context, c rootapi.VMStartCall, s *start, watch *stopwatch) (rootapi.Process, *os.File, error) {
	ready, err := watchFor(s.jail.root, firecracker.APISocket)
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	defer ready.close()
	if err := h.Units.StartTransient(ctx, s.unit); err != nil {
		return rootapi.Process{}, nil, err
	}
	watch.lap("unit")
	// systemd says which process is the unit's: it has started it.
	pid, err := h.Units.MainPID(ctx, s.unit.Name)
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	if pid == 0 {
		return rootapi.Process{}, nil, ended(c)
	}
	p, err := proc.Open(pid)
	if errors.Is(err, proc.ErrGone) {
		return rootapi.Process{}, nil, ended(c)
	}
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	defer p.Close()
	// The pid may have changed hands before it was opened: not if it is the unit's
	// still, as systemd lets go of a pid before it says that there is none.
	if again, err := h.Units.MainPID(ctx, s.unit.Name); err != nil || again != pid {
		return rootapi.Process{}, nil, cmp.Or(err, ended(c))
	}
	pidfd, err := p.File()
	if err != nil {
		return rootapi.Process{}, nil, err
	}
	if err := ready.wait(pidfd, cmp.Or(h.ready, readyTime)); err != nil {
		pidfd.Close()
		if errors.Is(err, errEnded) {
			return rootapi.Process{}, nil, ended(c)
		}
		return rootapi.Process{}, nil, err
	}
	watch.lap("vmm")
	id := p.Identity()
	return rootapi.Process{
		PID: id.PID, StartTime: id.StartTime, BootID: id.BootID, VMM: c.VMM, Accel: c.Accel, Timing: watch.laps,
	}, pidfd, nil
}

func ended(c rootapi.VMStartCall) error {
	return api.Errorf(api.KindInternal, "cannot start VM %s: %s ended at once", c.ID, c.VMM).
		WithHint("journalctl -u %s; banger doctor", vmid.Unit(c.ID))
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

// vmDial connects to a socket of the VM's VMM. The jail is the VMM's to fill: the
// socket is opened through no link, and whoever serves it must be the VMM.
func (h *Helper) vmDial(ctx context.Context, c rootapi.VMDialCall) (any, []*os.File, error) {
	p, j, err := h.findOrAwait(ctx, c.ID, proc.Identity{})
	if err != nil {
		return nil, nil, err
	}
	if p == nil {
		return nil, nil, api.Errorf(api.KindConflict, "VM %s does not run", c.ID)
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
