package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"banger/api"
)

// forgeEnv has the test's program send signals as another user: the address of the
// bus, the client to send to, the unit and the result.
const forgeEnv = "BANGER_TEST_FORGE"

func TestMain(m *testing.M) {
	if what := os.Getenv(forgeEnv); what != "" {
		if err := forge(strings.Split(what, " ")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const forgedJob = dbus.ObjectPath("/org/freedesktop/systemd1/job/4711")

// forge says as a user without any privilege how a job ended: to everybody and to
// one client, as PID 1's object and as another, before and after it said that PID 1's
// name were its own.
func forge(what []string) error {
	const nobody = 65534
	address, client, unit, result := what[0], what[1], what[2], what[3]
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		return err
	}
	conn, err := dbus.Connect(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 2 {
		for _, to := range []string{"", client} {
			for _, path := range []dbus.ObjectPath{root, "/x"} {
				err = errors.Join(err, send(conn, to, path, manager, jobRemoved, uint32(4711), forgedJob, unit, result))
			}
			for _, owner := range []string{"", conn.Names()[0]} {
				err = errors.Join(err, send(conn, to, "/org/freedesktop/DBus", busName, nameOwnerChanged, service, "", owner))
			}
		}
	}
	// The bus has taken what came before when it answers.
	return errors.Join(err, conn.BusObject().Call(busName+".GetId", 0).Err)
}

// send sends a signal to a client of the bus, or to everybody.
func send(conn *dbus.Conn, to string, path dbus.ObjectPath, face, member string, body ...any) error {
	m := signal(member)
	m.Headers[dbus.FieldPath] = dbus.MakeVariant(path)
	m.Headers[dbus.FieldInterface] = dbus.MakeVariant(face)
	if to != "" {
		m.Headers[dbus.FieldDestination] = dbus.MakeVariant(to)
	}
	m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	m.Body = body
	return conn.Send(m, nil).Err
}

// busPID1 is PID 1 as a client of a real message bus. Its jobs end when a test says so.
type busPID1 struct {
	conn *dbus.Conn
	jobs chan string // the units of the jobs that were asked for

	mu     sync.Mutex
	active string // what it says of every unit
}

func (p *busPID1) job(unit string) (dbus.ObjectPath, *dbus.Error) {
	p.jobs <- unit
	return forgedJob, nil
}

func (p *busPID1) StopUnit(unit, _ string) (dbus.ObjectPath, *dbus.Error)    { return p.job(unit) }
func (p *busPID1) StartUnit(unit, _ string) (dbus.ObjectPath, *dbus.Error)   { return p.job(unit) }
func (p *busPID1) RestartUnit(unit, _ string) (dbus.ObjectPath, *dbus.Error) { return p.job(unit) }

func (p *busPID1) StartTransientUnit(unit, _ string, _ []property, _ []aux) (dbus.ObjectPath, *dbus.Error) {
	return p.job(unit)
}

func (p *busPID1) Get(_, _ string) (dbus.Variant, *dbus.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return dbus.MakeVariant(p.active), nil
}

func (p *busPID1) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	return map[string]dbus.Variant{}, nil
}

func (p *busPID1) ResetFailedUnit(string) *dbus.Error { return nil }

// end ends the job.
func (p *busPID1) end(unit, result string) error {
	return p.conn.Emit(root, manager+"."+jobRemoved, uint32(4711), forgedJob, unit, result)
}

// messageBus starts a message bus that allows what Debian's system bus allows.
func messageBus(t *testing.T) (address string) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs the package dbus")
	}
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	system, err := os.ReadFile("/usr/share/dbus-1/system.conf")
	config := string(system)
	for what, with := range map[string]string{
		"<user>messagebus</user>": "", "<fork/>": "", "<syslog/>": "", "<pidfile>/run/dbus/pid</pidfile>": "", "<standard_system_servicedirs/>": "",
		"unix:path=/run/dbus/system_bus_socket": "unix:path=" + socket,
		// Of what systemd's package adds, what counts here.
		"<includedir>system.d</includedir>": `<policy user="root"><allow own="` + service + `"/></policy>
			<policy context="default"><allow send_destination="` + service + `"/></policy>`,
	} {
		if !strings.Contains(config, what) {
			t.Fatalf("Debian's system.conf has no %s: %v", what, err)
		}
		config = strings.Replace(config, what, with, 1)
	}
	file := filepath.Join(dir, "conf")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file, []byte(config), 0o600)); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(program, "--config-file="+file, "--nofork", "--nopidfile")
	daemon.Stderr = t.Output()
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return "unix:path=" + socket
		}
		if time.Now().After(deadline) {
			t.Fatal("the message bus does not start")
		}
	}
}

// connectPID1 makes a connection PID 1's, whoever's it was before.
func connectPID1(t *testing.T, address string) *busPID1 {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &busPID1{conn: conn, jobs: make(chan string, 1), active: "active"}
	if err := errors.Join(conn.Export(p, root, manager), conn.ExportSubtree(p, root, propsFace)); err != nil {
		t.Fatal(err)
	}
	const flags = dbus.NameFlagAllowReplacement | dbus.NameFlagReplaceExisting
	if r, err := conn.RequestName(service, flags); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(r, err)
	}
	return p
}

func onBus(t *testing.T, address string) *Bus {
	b := &Bus{dial: func(ctx context.Context) (*link, error) { return newLink(ctx, address, true) }}
	t.Cleanup(b.Close)
	return b
}

// jobCalls are all calls that wait for the end of a job.
var jobCalls = map[string]func(*Bus, context.Context) error{
	"start":   func(b *Bus, ctx context.Context) error { return b.Start(ctx, vmUnit) },
	"stop":    func(b *Bus, ctx context.Context) error { return b.Stop(ctx, vmUnit) },
	"restart": func(b *Bus, ctx context.Context) error { return b.Restart(ctx, vmUnit) },
	"start transient": func(b *Bus, ctx context.Context) error {
		return b.StartTransient(ctx, Unit{Name: vmUnit, Exec: []string{"/bin/true"}})
	},
}

// TestAnotherUserEndsNoJob: whatever another user of the host says of a job, the
// job ends when PID 1 says so, and as PID 1 says.
func TestAnotherUserEndsNoJob(t *testing.T) {
	address := messageBus(t)
	p := connectPID1(t, address)
	b := onBus(t, address)
	l, err := b.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range jobCalls {
		for forged, real := range map[string]string{"done": "failed", "failed": "done"} {
			t.Run(name+" "+forged, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				p.mu.Lock()
				p.active = map[bool]string{true: "inactive", false: "active"}[name == "stop"]
				p.mu.Unlock()
				result := make(chan error, 1)
				go func() { result <- call(b, ctx) }()
				unit := <-p.jobs
				forger := exec.CommandContext(ctx, "/proc/self/exe")
				forger.Env = []string{forgeEnv + "=" + strings.Join([]string{address, l.conn.Names()[0], unit, forged}, " ")}
				if out, err := forger.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				select {
				case err := <-result:
					t.Errorf("another user ended the job: %v", err)
					return
				case <-time.After(50 * time.Millisecond): // what was sent before is read before, in any case
				}
				if err := p.end(unit, real); err != nil {
					t.Fatal(err)
				}
				if err := <-result; (err == nil) != (real == "done") || err != nil && !strings.Contains(err.Error(), `"failed"`) {
					t.Errorf("PID 1 says %q: %v", real, err)
				}
			})
		}
	}
}

// TestPID1MayTakeAnotherName: PID 1 connects to the bus again when it executes itself
// again. What its old name says counts no more.
func TestPID1MayTakeAnotherName(t *testing.T) {
	address := messageBus(t)
	before := connectPID1(t, address)
	b := onBus(t, address)
	if _, err := b.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := connectPID1(t, address)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- b.Start(ctx, vmUnit) }()
	unit := <-p.jobs
	err := before.end(unit, "failed")
	// The bus has passed on what came before when it answers.
	err = errors.Join(err, before.conn.BusObject().Call(busName+".GetId", 0).Err, p.end(unit, "done"))
	if err = errors.Join(err, <-result); err != nil {
		t.Error(err)
	}
}

// TestABusWithoutPID1: whom to believe there is unknown.
func TestABusWithoutPID1(t *testing.T) {
	if l, err := newLink(t.Context(), messageBus(t), true); err == nil {
		l.conn.Close()
		t.Error("connected to PID 1 where it is not")
	}
}

// TestTheUnitItselfIsAsked: "done" is no end while the unit says otherwise.
func TestTheUnitItselfIsAsked(t *testing.T) {
	for call, states := range map[string]map[string]bool{
		"stop":            {"inactive": true, "failed": true, "deactivating": false, "active": false},
		"start":           {"active": true, "activating": false},
		"restart":         {"active": true, "activating": false},
		"start transient": {"active": true, "inactive": true, "activating": false}, // it may have ended since
	} {
		for state, good := range states {
			f := newFake(t)
			f.set(func() { f.state["ActiveState"] = dbus.MakeVariant(state) })
			err := jobCalls[call](f.bus(), t.Context())
			if (err == nil) != good || err != nil && (api.KindOf(err) != api.KindInternal || !strings.Contains(err.Error(), state)) {
				t.Errorf("%s, then %s: %v", call, state, err)
			}
		}
	}
	f := newFake(t)
	f.set(func() { f.refuse["Get"] = service + ".NoSuchUnit" })
	if err := f.bus().Stop(t.Context(), vmUnit); err != nil {
		t.Error("a unit that was unloaded:", err)
	}
}

// TestPrivateSignalsComeFromTheManager: where PID 1 alone is at the other end, its
// signals have no sender; other objects of its are no manager.
func TestPrivateSignalsComeFromTheManager(t *testing.T) {
	if (&sender{bus: true}).is(&dbus.Signal{Path: root}) {
		t.Error("without an owner of its name, anybody is PID 1")
	}
	for path, want := range map[dbus.ObjectPath]bool{root: true, root + "/unit/x": false} {
		if got := (&sender{}).is(&dbus.Signal{Path: path}); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
