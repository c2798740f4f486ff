package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
)

// shutdownTime bounds an orderly shutdown: the time of the lab's units, with a reserve.
const shutdownTime = 2 * time.Minute

// Options are the options of a lab.
type Options struct {
	MemoryMiB int `json:"memory_mib"`
	CPUs      int `json:"cpus"`
	// Build is the directory with the programs to test, /lab/build in the lab.
	Build string `json:"build"`
	// Extra are files and directories for /lab/extra.
	Extra []string `json:"extra,omitempty"`
	// NoFirecracker leaves firecracker and jailer out.
	NoFirecracker bool `json:"no_firecracker,omitempty"`
	// Pairs go to /lab/pairs; without any, the programs in PATH go to /lab/bin.
	Pairs []Pair `json:"pairs,omitempty"`
	// Tied labs end with the program that boots them, however it ends.
	Tied bool `json:"tied,omitempty"`
}

// Machine is a lab host: a directory with its disk, its sockets and its console log.
type Machine struct {
	Dir   string
	state state
}

// state is what another program needs to know about the machine.
type state struct {
	Image   Image         `json:"image"`
	Options Options       `json:"options"`
	QEMU    proc.Identity `json:"qemu"`
}

func (m *Machine) path(name string) string { return filepath.Join(m.Dir, name) }

// Open finds the lab in a directory.
func Open(dir string) (*Machine, error) {
	m := &Machine{Dir: dir}
	data, err := os.ReadFile(m.path("lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindNotFound, "no lab runs in %s", dir).WithHint("go run ./tools/lab up")
	}
	if err == nil {
		err = json.Unmarshal(data, &m.state)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", m.path("lab.json"), err)
	}
	return m, nil
}

// Up makes a lab in dir, boots it, and returns when all its units have started.
// Existing content of dir is removed.
func Up(ctx context.Context, dir string, image Image, o Options) (*Machine, error) {
	if old, err := Open(dir); err == nil {
		if old.Running() {
			return nil, api.Errorf(api.KindConflict, "a lab is already running in %s", dir).WithHint("go run ./tools/lab down --dir %s", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	m := &Machine{Dir: dir, state: state{Image: image, Options: o}}
	err := execx.Run(ctx, execx.Cmd{Name: "qemu-img", Package: "qemu-utils", Dir: dir,
		Args: []string{"create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.root(), "root.qcow2"}})
	if err == nil {
		err = payload(ctx, m.path("payload.ext4"), o)
	}
	if err == nil {
		err = m.boot(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Kill())
	}
	return m, nil
}

// tries is how often a boot is tried. On a busy machine an emulated kernel occasionally
// hangs before its first output, when nothing has been written to the disk yet.
const tries = 3

// boot starts QEMU and waits until the lab is up.
func (m *Machine) boot(ctx context.Context) error {
	for try := 1; ; try++ {
		said := m.consoleSize()
		if err := m.start(); err != nil {
			return err
		}
		err := m.ready(ctx, func() bool { return m.consoleSize() > said })
		if !errors.Is(err, errSilent) || try == tries {
			return err
		}
		if err := m.Kill(); err != nil {
			return err
		}
	}
}

// consoleSize returns the length of the serial console's log so far.
func (m *Machine) consoleSize() int64 {
	info, err := os.Stat(m.Console())
	if err != nil {
		return 0 // QEMU creates the file
	}
	return info.Size()
}

// start starts QEMU, which outlives this process.
func (m *Machine) start() error {
	qemu, err := execx.LookPath("qemu-system-x86_64", "qemu-system-x86")
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.path("qemu.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := arguments(m.state.Image, m.state.Options)
	fmt.Fprintln(log, qemu, quoted(args))
	cmd := exec.Command(qemu, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// The sockets exist before QEMU does: a client waits for the lab's agent.
	for i := range ports {
		l, err := fsx.ListenUnix(m.path(portFile(i)))
		if err != nil {
			return err
		}
		defer l.Close()
		f, err := l.File()
		if err != nil {
			return err
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if m.state.Options.Tied {
		err = startTied(cmd)
	} else {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("cannot boot the lab host: %w", err)
	}
	p, err := proc.Open(cmd.Process.Pid) // which reaps it, too
	if err != nil {
		return errors.Join(fmt.Errorf("cannot boot the lab host: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	m.state.QEMU = p.Identity()
	return fsx.WriteJSON(m.path("lab.json"), m.state)
}

// startTied starts a program that is killed when this one ends. The kernel uses the
// thread that started it (PR_SET_PDEATHSIG(2const)), so that thread is kept.
func startTied(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	return <-started
}

// Running reports whether QEMU runs.
func (m *Machine) Running() bool {
	p, err := proc.OpenIdentity(m.state.QEMU)
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// Kill ends QEMU at once, like a power cut: data that the lab's kernel had not written
// to its disk is lost.
func (m *Machine) Kill() error {
	p, err := proc.OpenIdentity(m.state.QEMU)
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Kill(context.Background(), 30*time.Second)
}

// Cut cuts the power and boots the lab again.
func (m *Machine) Cut(ctx context.Context) error {
	if err := m.Kill(); err != nil {
		return err
	}
	return m.boot(ctx)
}

// Reboot reboots the lab in an orderly way.
func (m *Machine) Reboot(ctx context.Context) error {
	if err := m.shutDown(ctx); err != nil {
		return fmt.Errorf("cannot reboot the lab: %w", err)
	}
	return m.boot(ctx)
}

// shutDown makes the lab's systemd shut down; QEMU ends with it.
func (m *Machine) shutDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, shutdownTime, errors.New("it has not shut down within "+shutdownTime.String()))
	defer cancel()
	qemu, err := proc.OpenIdentity(m.state.QEMU)
	if err != nil {
		return err
	}
	defer qemu.Close()
	c, err := m.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Output(ctx, "systemctl", "reboot", "--no-block"); err != nil {
		return err
	}
	select {
	case <-qemu.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Remove ends the lab and removes all its files.
func (m *Machine) Remove() error {
	if err := m.Kill(); err != nil {
		return err
	}
	return os.RemoveAll(m.Dir)
}

// Console returns the path of the log of the lab's serial console.
func (m *Machine) Console() string { return m.path("console.log") }
