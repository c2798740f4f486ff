package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/guest"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"

	"golang.org/x/sys/unix"
)

// bootTime bounds a boot; under emulation one takes about 15 seconds on a machine
// that does nothing else.
const bootTime = 5 * time.Minute

// silence is how long a boot may take until the first output on the console. There
// always is one: the kernel reports that a microvm has no PCI.
const silence = 45 * time.Second

var errSilent = errors.New("the lab's kernel hung before it printed anything")

// Conn is a connection to the agent in the lab, by a port of its own.
type Conn struct {
	link   *guest.Link
	client *guest.Client
	lock   *os.File
}

// Connect takes a free port of the lab and connects to the agent, which may still be
// starting: it waits as long as ctx allows.
func (m *Machine) Connect(ctx context.Context) (*Conn, error) {
	i, held, err := m.freePort()
	if err != nil {
		return nil, err
	}
	socket, err := fsx.DialUnix(ctx, m.path(portFile(i)))
	if err != nil {
		held.Close()
		if !m.Running() {
			err = api.Errorf(api.KindConflict, "the lab in %s is not running", m.Dir).WithHint("go run ./tools/lab up --dir %s", m.Dir)
		}
		return nil, err
	}
	link, err := guest.Connect(ctx, socket, buildinfo.Get().Version)
	if err != nil {
		held.Close()
		return nil, fmt.Errorf("cannot reach the lab in %s: %w", m.Dir, err)
	}
	return &Conn{link: link, client: &guest.Client{Dial: link.Open, Patience: time.Second}, lock: held}, nil
}

// freePort returns a port and the lock that reserves it.
func (m *Machine) freePort() (int, *os.File, error) {
	for i := range ports {
		f, err := os.OpenFile(m.path(portFile(i)+".lock"), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return 0, nil, err
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return i, f, nil
		}
		f.Close()
	}
	return 0, nil, api.Errorf(api.KindConflict, "all %d ports of the lab in %s are in use", ports, m.Dir).
		WithHint("end one of the programs that use it")
}

// ready waits until the lab has booted and all its units have started. Its status may
// be "degraded": scenarios detect a failed unit. spoken reports whether the kernel has
// printed anything in this boot.
func (m *Machine) ready(ctx context.Context, spoken func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootTime, errors.New("it has not booted within "+bootTime.String()))
	defer cancel()
	qemu, err := proc.OpenIdentity(m.state.QEMU)
	if err != nil {
		return m.dead()
	}
	defer qemu.Close()
	booted := make(chan error, 1)
	go func() { booted <- m.settle(ctx) }()
	silent := time.After(silence)
	for {
		select {
		case err := <-booted:
			return err
		case <-silent:
			if spoken() {
				continue
			}
			cancel()
			<-booted
			return errSilent
		case <-qemu.Done():
			cancel()
			<-booted
			return m.dead()
		}
	}
}

func (m *Machine) settle(ctx context.Context) error {
	c, err := m.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Output(ctx, "sh", "-c", "systemctl is-system-running --wait || true")
	return err
}

// dead returns why QEMU has ended.
func (m *Machine) dead() error {
	log, _ := os.ReadFile(m.path("qemu.log"))
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return api.Errorf(api.KindInternal, "the lab host has ended: %s", lines[len(lines)-1])
}

// BootID identifies a boot of the lab.
func (c *Conn) BootID() string { return c.link.BootID() }

// Close releases the port. Running commands get a hang-up.
func (c *Conn) Close() {
	c.link.Close()
	c.lock.Close()
}

// Streams are the streams of a command; nil is empty.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Started receives the session of a running command.
	Started func(*guest.Session)
}

// Exec runs a command as root and returns its exit status.
func (c *Conn) Exec(ctx context.Context, e api.Exec, std Streams) (int, error) {
	s, err := c.client.Exec(ctx, e)
	if err != nil {
		return -1, err
	}
	defer s.Close()
	if std.Started != nil {
		std.Started(s)
	}
	go func() {
		if std.In != nil {
			_, _ = io.Copy(s.Stdin, std.In) // a command need not read all of it
		}
		s.Stdin.Close()
	}()
	errs := make(chan error, 2)
	for _, p := range []struct {
		w io.Writer
		r io.Reader
	}{{std.Out, s.Stdout}, {std.Err, s.Stderr}} {
		if p.w == nil {
			p.w = io.Discard
		}
		go func() {
			_, err := io.Copy(p.w, p.r)
			errs <- err
		}()
	}
	copyErr := errors.Join(<-errs, <-errs)
	exit, err := s.Wait(ctx)
	if err != nil && exit.Code > 0 {
		// It could not be run: the shell's statuses 126 and 127.
		if std.Err != nil {
			fmt.Fprintln(std.Err, err)
		}
		return exit.Code, nil
	}
	return exit.Code, errors.Join(err, copyErr)
}

// Output runs a command as root and returns its standard output. The error of a failed
// command contains its standard error.
func (c *Conn) Output(ctx context.Context, argv ...string) (string, error) {
	var out, errs bytes.Buffer
	code, err := c.Exec(ctx, api.Exec{Argv: argv}, Streams{Out: &out, Err: &errs})
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: status %d: %s", strings.Join(argv, " "), code, strings.TrimSpace(errs.String()))
	}
	return out.String(), err
}

// Push copies a file or directory into the lab, Pull out of it; the target is as in
// `banger vm cp`.
func (c *Conn) Push(ctx context.Context, from, to string) error {
	return c.client.CopyIn(ctx, from, to, guest.CopyOptions{Warnings: os.Stderr})
}

// Pull copies a file or directory out of the lab.
func (c *Conn) Pull(ctx context.Context, from, to string) error {
	return c.client.CopyOut(ctx, from, to, guest.CopyOptions{Warnings: os.Stderr})
}
