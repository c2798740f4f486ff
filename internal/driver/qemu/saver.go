package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/host/proc"
)

// saverName is the first argument of a process that saves a machine. It is a process of its own because the daemon
// may be killed while it holds the pipe with the guest's memory: then the saver lets the machine
// continue.
const saverName = "banger-saver"

// orderFD is the descriptor of the socket between the daemon and the saver. The daemon sends an order,
// the saver a report, and the daemon, if it takes the result, accepted. If the daemon closes its side
// before that, the saver undoes what it has done.
const orderFD = 3

// order is what a saver is told.
type order struct {
	VM    string       `json:"vm"`  // the VM's directory
	Dir   string       `json:"dir"` // for the files
	Saved driver.Saved `json:"saved"`
	Ran   bool         `json:"ran"`
}

// report is how it went.
type report struct {
	Error *api.Error `json:"error,omitempty"`
}

// accepted is the daemon's word that it takes the result.
const accepted = 1

func saverArgs(program, vm, dir string) []string {
	return []string{program, saverName, "vm=" + vm, "dir=" + dir}
}

// Save implements driver.Saver. A process of its own does it.
func (m machine) Save(ctx context.Context, dir string) error {
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	binary, err := m.driver.digests.of(fmt.Sprintf("/proc/%d/exe", m.PID()))
	if err != nil {
		return err
	}
	o := order{VM: m.Dir(), Dir: dir, Saved: driver.Saved{Provenance: driver.Provenance{VMM: m.driver.Name(), Binary: binary, Accel: m.Accel()}}}
	if err := m.driver.setHost(&o.Saved.Provenance); err != nil {
		return err
	}
	status, err := m.monitor().status(ctx)
	if err == nil && status == "postmigrate" { // it was saved already, and QEMU saves no machine again that has not run since
		status, err = "running", m.Resume(ctx)
	}
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	if err != nil {
		return err
	}
	o.Ran = status == "running"
	err = m.driver.saveBy(ctx, o)
	if errors.Is(err, errSaverEnded) {
		j := saveJob{monitor: m.monitor(), dir: dir, ran: o.Ran}
		kind := api.KindInternal
		if ctx.Err() != nil {
			kind = api.KindCanceled
		}
		return api.Errorf(kind, "cannot save the VM's memory: %w", errors.Join(err, j.undo(ctx)))
	}
	return err
}

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "cannot save the VM's memory: %w", context.Cause(ctx))
}

// errSaverEnded is the error of a saver that did not report: it was killed.
var errSaverEnded = errors.New("the process that saves it has ended")

// saveBy has a saver carry out an order.
func (d *Driver) saveBy(ctx context.Context, o order) error {
	program := d.opts.Executable
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return api.Errorf(api.KindInternal, "cannot save the VM's memory: %w", err)
		}
	}
	conn, theirs, err := socketPair()
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot save the VM's memory: %w", err)
	}
	defer conn.Close()
	p, err := proc.Spawn(proc.Command{
		Path: program, Args: saverArgs(program, o.VM, o.Dir), Env: environment,
		Files: []*os.File{nil, nil, nil, theirs},
	})
	theirs.Close()
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot save the VM's memory: %w", err)
	}
	defer p.Close()
	if err := json.NewEncoder(conn).Encode(o); err != nil {
		return errors.Join(errSaverEnded, err)
	}
	// It reports in any case: when it is cancelled, that the machine continues.
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseWrite() })
	defer stop()
	var r report
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return errors.Join(errSaverEnded, err)
	}
	if r.Error != nil {
		return r.Error
	}
	if stop() {
		if _, err := conn.Write([]byte{accepted}); err != nil {
			return errors.Join(errSaverEnded, err)
		}
		return nil
	}
	// Cancelled at the last moment: the saver undoes it, and ends.
	<-p.Done()
	return canceled(ctx)
}

func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "saver")
	defer f.Close()
	theirs = os.NewFile(uintptr(fds[1]), "daemon")
	conn, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

// Main returns immediately, unless this process was started to save a machine: then it does that and
// exits.
func Main() {
	if len(os.Args) != 4 || os.Args[1] != saverName {
		return
	}
	if err := runSaver(); err != nil {
		fmt.Fprintln(os.Stderr, strings.Join(os.Args, " ")+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runSaver carries out the order that comes by orderFD.
func runSaver() error {
	f := os.NewFile(orderFD, "daemon")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return err
	}
	defer conn.Close()
	var o order
	in := json.NewDecoder(conn)
	if err := in.Decode(&o); err != nil {
		return err // nothing was touched
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	taken := make(chan bool, 1)
	go func() { // the daemon sends nothing until the report, so the end of its side is a cancellation
		taken <- wasAccepted(io.MultiReader(in.Buffered(), conn))
		cancel(errors.New("the request was cancelled"))
	}()
	j := saveJob{monitor: monitorIn(o.VM), dir: o.Dir, saved: o.Saved, ran: o.Ran}
	if err := j.do(ctx); err != nil {
		_ = json.NewEncoder(conn).Encode(report{api.AsError(err)}) // fails if the daemon is gone
		return err
	}
	_ = json.NewEncoder(conn).Encode(report{}) // if it fails, it is not taken
	if !<-taken {
		return j.undo(ctx)
	}
	return nil
}

// wasAccepted returns whether the daemon takes the result. The order has a newline behind it.
func wasAccepted(r io.Reader) bool {
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, b); err != nil {
			return false
		}
		if b[0] == accepted {
			return true
		}
	}
}
