package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/daemonstart"
	"banger/internal/guest"
	"banger/internal/guest/budget"
	"banger/internal/guest/forward"
	"banger/internal/paths"
	"banger/internal/update/journal"
)

// name is the first argument of a process that is a forwarder.
const name = "banger-forwarder"

// controlFD is the descriptor of the control socket, which the daemon passes.
const controlFD = 3

// patience is how long a connection waits for a daemon that does not run. The agent ends a session
// after the same time.
const patience = 10 * time.Minute

func arguments(program, id, dir string, system bool) []string {
	mode := "user"
	if system {
		mode = "system"
	}
	return []string{program, name, "vm=" + id, "dir=" + dir, "mode=" + mode}
}

// vmOf returns the id of the VM whose forwarder has a command line, for VMs in the directory vms, or
// "" if it is not a forwarder's.
func vmOf(args []string, vms string) string {
	if len(args) != 5 || args[1] != name {
		return ""
	}
	id := strings.TrimPrefix(args[2], "vm=")
	if args[3] != "dir="+filepath.Join(vms, id) {
		return ""
	}
	return id
}

// Main returns immediately, unless this process was started as a forwarder: then it runs as one until
// it is asked to end, and exits.
func Main() {
	if len(os.Args) != 5 || os.Args[1] != name {
		return
	}
	id, dir := strings.TrimPrefix(os.Args[2], "vm="), strings.TrimPrefix(os.Args[3], "dir=")
	if err := run(id, dir, os.Args[4] == "mode=system"); err != nil {
		fmt.Fprintln(os.Stderr, "forwarder:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(id, dir string, system bool) error {
	// It is small, and one runs for every VM.
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signal.Ignore(syscall.SIGHUP)
	p := paths.System()
	if !system {
		var err error
		if p, err = paths.User(); err != nil {
			return err
		}
	}
	file := os.NewFile(controlFD, "control")
	control, err := net.FileListener(file)
	file.Close()
	if err != nil {
		return err
	}
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	go whenRemoved(ctx, filepath.Join(dir, paths.VMPortsSocket), lookAgain, gone)
	daemon := daemonstart.Daemon{Paths: p, BeforeStart: func(context.Context) (string, error) { return "", duringUpdate(p) }}
	vm := daemon.Client(client.Options{}).Guest(id)
	room := budget.OfForwarder(budget.Memory())
	budget.SetHeap(room.Heap)
	agent := &guest.Client{
		Dial: watch(vm.Dial, &budget.Rest{}), VM: vm.Name, Patience: patience, Crowd: forward.NewCrowd(room.Connections),
	}
	f := &forwarder{ctx: ctx, agent: agent, ports: map[api.PublishedPort]*serving{}}
	return f.serve(control)
}

// watch reports data from the guest to rest: without data the forwarder is idle.
func watch(dial guest.Dial, rest *budget.Rest) guest.Dial {
	rest.Use() // to be started left something, too
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return watched{conn, rest}, nil
	}
}

type watched struct {
	net.Conn
	rest *budget.Rest
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.rest.Use()
	return n, err
}

// duringUpdate refuses to start the daemon while an update is in progress: the updater starts it, or
// the user's next command finishes the update first.
func duringUpdate(p paths.Paths) error {
	if _, err := os.Lstat(filepath.Join(p.Update(), journal.File)); err == nil {
		return api.Errorf(api.KindTimeout, "an update is in progress")
	}
	return nil
}

// forwarder serves the ports of one VM.
type forwarder struct {
	ctx   context.Context
	agent *guest.Client
	work  sync.WaitGroup

	mu    sync.Mutex
	ports map[api.PublishedPort]*serving
}

// serving is a served port.
type serving struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// serve executes requests until it is asked to end. Then connections are reset.
func (f *forwarder) serve(control net.Listener) error {
	stop := context.AfterFunc(f.ctx, func() { control.Close() })
	defer stop()
	defer f.work.Wait()
	for {
		conn, err := forward.Accept(control)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		// One after the other: each is bounded in time.
		f.follow(conn.(*net.UnixConn))
	}
}

func (f *forwarder) follow(conn *net.UnixConn) {
	defer conn.Close()
	o, socket, err := readOrder(conn)
	switch {
	case err != nil:
	case o.Add != nil:
		err = f.add(*o.Add, socket)
	case o.Remove != nil:
		f.remove(*o.Remove)
	}
	answer := report{Ports: f.list()}
	if err != nil {
		answer.Error = err.Error()
	}
	_ = json.NewEncoder(conn).Encode(answer) // fails if the daemon is gone
}

func (f *forwarder) add(p api.PublishedPort, socket *os.File) error {
	s, err := forward.Published(p)
	if err != nil {
		socket.Close()
		return err
	}
	l, err := forward.FromFile(socket, p.Protocol)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ports[p] != nil {
		l.Close()
		return fmt.Errorf("%s is already served", p)
	}
	ctx, cancel := context.WithCancel(f.ctx)
	serves := &serving{cancel, make(chan struct{})}
	f.ports[p] = serves
	f.work.Go(func() {
		defer close(serves.done)
		if err := f.agent.Forward(ctx, l, s.To, func(error) {}); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s: %v\n", time.Now().Format(time.RFC3339), p, err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.ports, p)
	})
	return nil
}

// remove ends a port, and its connections.
func (f *forwarder) remove(p api.PublishedPort) {
	f.mu.Lock()
	serves := f.ports[p]
	f.mu.Unlock()
	if serves != nil {
		serves.cancel()
		<-serves.done
	}
}

func (f *forwarder) list() []api.PublishedPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []api.PublishedPort{}
	for p := range f.ports {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b api.PublishedPort) int { return strings.Compare(a.String(), b.String()) })
	return list
}
