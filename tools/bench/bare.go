package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/disk"
	"banger/internal/disk/copy"
	"banger/internal/disk/reflink"
	"banger/internal/driver"
	"banger/internal/driver/qemu"
	"banger/internal/driver/vmproc"
	"banger/internal/guest"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// bareSpec is how a bare QEMU is started: with banger's arguments.
type bareSpec struct {
	program string
	accel   string
	spec    driver.Spec
	disk    disk.Driver // copies the template's disk
}

func (b *bench) bareDir() string { return filepath.Join(b.home, "bare") }

// bareLike reads from the process of a running VM how QEMU is started, and checks that
// bare ones get the same arguments.
func (b *bench) bareLike(vm api.VM) (bareSpec, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", vm.PID))
	if err != nil {
		return bareSpec{}, err
	}
	args := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	s := bareSpec{program: args[0], accel: vm.Accel, disk: copy.New(), spec: driver.Spec{
		ID: vm.ID, Dir: b.paths.VM(vm.ID), VCPUs: vm.VCPUs, MemoryBytes: vm.MemoryBytes,
		Kernel: valueOf(args, "-kernel"), Initramfs: valueOf(args, "-initrd"),
		Cmdline: strings.TrimPrefix(valueOf(args, "-append"), "console=ttyS0 "),
		Disk:    filepath.Join(b.paths.VM(vm.ID), paths.VMDisk), DiskFormat: disk.Raw,
	}}
	switch vm.DiskDriver {
	case "qcow2":
		s.spec.DiskFormat = disk.Qcow2
	case "reflink":
		s.disk = reflink.New()
	}
	if same := qemu.Args(s.spec, s.accel, qemu.Files{QMP: 3, Agent: 4}); !slices.Equal(same, args[1:]) {
		return s, fmt.Errorf("a bare QEMU would get different arguments:\n%q\n%q", same, args[1:])
	}
	return s, nil
}

func valueOf(args []string, option string) string {
	if i := slices.Index(args, option); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// bareVM is a QEMU that was started without banger.
type bareVM struct {
	cmd    *exec.Cmd
	dir    string
	link   *guest.Link
	client guest.Client
	ended  chan error

	started, up time.Time // the process; the agent's greeting
}

// newBare makes the disk, which is not measured, and starts a QEMU until the agent's
// greeting.
func (b *bench) newBare(ctx context.Context, number int) (*bareVM, error) {
	s := b.bare.spec
	s.ID = fmt.Sprintf("%012x", number)
	s.Dir = filepath.Join(b.bareDir(), s.ID)
	s.Disk = filepath.Join(s.Dir, paths.VMDisk)
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	template := filepath.Join(b.paths.VM(b.template.ID), paths.VMDisk)
	if err := b.bare.disk.Create(ctx, disk.Spec{Base: template, Path: s.Disk}); err != nil {
		return nil, err
	}
	// The guest must not wait for pending writes of the copy.
	if err := syncFile(s.Disk); err != nil {
		return nil, err
	}
	v := &bareVM{dir: s.Dir, ended: make(chan error, 1)}
	if err := v.start(ctx, b.bare.program, s, b.bare.accel); err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (v *bareVM) start(ctx context.Context, program string, s driver.Spec, accel string) error {
	v.started = time.Now()
	var files vmproc.Files
	defer func() { files.Close() }()
	for _, name := range []string{paths.VMQMPSocket, paths.VMAgentSocket} {
		f, err := vmproc.Listen(filepath.Join(s.Dir, name))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	v.cmd = exec.Command(program, qemu.Args(s, accel, qemu.Files{QMP: 3, Agent: 4})...)
	v.cmd.ExtraFiles = files
	v.cmd.Stderr = os.Stderr
	// A separate session, as in banger: the scheduler shares the processors among
	// sessions (sched(7), autogroup). QEMU ends with this process even if this is
	// killed.
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := v.cmd.Start(); err != nil {
		v.cmd = nil
		return err
	}
	go func() { v.ended <- v.cmd.Wait() }()
	conn, err := fsx.DialUnix(ctx, filepath.Join(s.Dir, paths.VMAgentSocket))
	if err != nil {
		return err
	}
	if v.link, err = guest.Connect(ctx, conn, "bench"); err != nil {
		return err
	}
	v.up = time.Now()
	v.client = guest.Client{Dial: v.link.Open}
	return nil
}

// stop asks the guest to shut down and waits for QEMU's end.
func (v *bareVM) stop(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	if err := v.client.Shutdown(ctx); err != nil {
		return 0, err
	}
	select {
	case err := <-v.ended:
		v.ended <- err
		return time.Since(began), err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// close ends the machine and removes its leftovers.
func (v *bareVM) close() error {
	if v.link != nil {
		v.link.Close()
	}
	if v.cmd != nil {
		_ = v.cmd.Process.Kill() // it may have ended
		_ = <-v.ended
	}
	return os.RemoveAll(v.dir)
}

// runIn runs a command in a guest, which has to succeed.
// agentOf returns a client of a VM's agent through the daemon, like that of a bare link.
func agentOf(c *client.Client, ref string) *guest.Client {
	g := c.Guest(ref)
	return &guest.Client{Dial: g.Dial, VM: g.Name, Complete: g.Complete}
}

func runIn(ctx context.Context, c *guest.Client, argv ...string) error {
	s, err := c.Exec(ctx, api.Exec{Argv: argv})
	if err != nil {
		return err
	}
	defer s.Close()
	s.Stdin.Close()
	exit, err := s.Wait(ctx)
	if err == nil && exit.Code != 0 {
		err = errors.New("status " + strconv.Itoa(exit.Code))
	}
	return err
}
