package vm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/op"
	"banger/internal/vm/records"
)

// fakePorts serves nothing, and knows what it would serve.
type fakePorts struct {
	mu       sync.Mutex
	served   map[string][]api.PublishedPort
	reopened chan string // ids
	opening  func()      // called before they are served; may be nil
	refusal  error       // of what is to be served
}

func (f *fakePorts) Check(context.Context, []api.PublishedPort) error { return nil }

func (f *fakePorts) Open(_ context.Context, id string, ports []api.PublishedPort) ([]api.PublishedPort, error) {
	if f.opening != nil {
		f.opening()
	}
	if f.refusal != nil {
		return nil, f.refusal
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served[id] = ports
	return ports, nil
}

func (f *fakePorts) Reopen(ctx context.Context, id string, ports []api.PublishedPort) error {
	_, err := f.Open(ctx, id, ports)
	f.reopened <- id
	return err
}

func (f *fakePorts) Close(_ context.Context, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.served, id)
}

// Recover finds nothing.
func (f *fakePorts) Recover(context.Context, func(id string) []api.PublishedPort) ([]string, error) {
	return nil, nil
}

func (f *fakePorts) serves(id string) []api.PublishedPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served[id]
}

var published = []api.PublishedPort{{Address: "127.0.0.1", HostPort: 8080, GuestPort: 80, Protocol: "tcp"}}

// publishing is a daemon that has started a VM with published ports and is gone now, and
// what the next one serves them by.
func publishing(t *testing.T) (*world, api.VM, *fakePorts) {
	t.Helper()
	w := newWorld(t)
	w.ports.Server = &fakePorts{served: map[string][]api.PublishedPort{}}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, Publish: published}))
	v := w.show("dev")
	w.leave()
	w.build()
	next := &fakePorts{served: map[string][]api.PublishedPort{}, reopened: make(chan string, 1)}
	w.ports.Server = next
	return w, v, next
}

// TestPortsOfAVMThatIsFoundLate are served when it is found.
func TestPortsOfAVMThatIsFoundLate(t *testing.T) {
	w, v, ports := publishing(t)
	unseen := &blind{Driver: w.machines.Drivers[0]}
	w.machines.Drivers = []driver.Driver{unseen}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ports.serves(v.ID); got != nil {
		t.Errorf("before it is found: %v", got)
	}
	unseen.sees.Store(true)
	awaitReopened(t, ports, v.ID)
	w.awaitIdle(v.ID)
}

// TestPortsOfAVMThatIsGoneLate are closed when that is known.
func TestPortsOfAVMThatIsGoneLate(t *testing.T) {
	w, v, ports := publishing(t)
	unseen := &blind{Driver: w.machines.Drivers[0]}
	w.machines.Drivers = []driver.Driver{unseen}
	ports.served[v.ID] = published // by a forwarder that was found
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(v.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	unseen.sees.Store(true)
	w.awaitIdle(v.ID)
	if got := ports.serves(v.ID); got != nil {
		t.Errorf("they are served: %v", got)
	}
}

// TestPortsAfterAnOperation that an earlier daemon has left: it passes by the step that
// serves them.
func TestPortsAfterAnOperation(t *testing.T) {
	w, v, ports := publishing(t)
	row := api.Operation{ID: op.NewID(), Kind: records.KindStart, Target: v.ID, Step: "agent", StartedAt: time.Now()}
	if err := w.store.BeginOperation(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitReopened(t, ports, v.ID)
	w.awaitIdle(v.ID)
}

func awaitReopened(t *testing.T, ports *fakePorts, id string) {
	t.Helper()
	select {
	case <-ports.reopened:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing serves them")
	}
	if got := ports.serves(id); !slices.Equal(got, published) {
		t.Errorf("served: %v", got)
	}
}

// awaitIdle waits until nothing works on a VM.
func (w *world) awaitIdle(id string) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, busy := w.table.ByID(id).Operation()
		if busy == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is at work on it", busy)
		}
	}
}

// TestPortOfAnotherVM: it is taken also while nobody listens on it, as while the process
// that serves it is replaced.
func TestPortOfAnotherVM(t *testing.T) {
	w := newWorld(t)
	w.ports.Server = &fakePorts{served: map[string][]api.PublishedPort{}}
	port := api.PublishedPort{Address: "127.0.0.1", HostPort: 8080, GuestPort: 80, Protocol: "tcp"}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "a", Start: true, Publish: []api.PublishedPort{port}}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "b", Start: true}))
	publish := func() error {
		_, err := w.Publish(t.Context(), "b", api.PublishVM{Add: []api.PublishedPort{port}})
		return err
	}
	if err := publish(); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "VM a publishes") {
		t.Errorf("%v", err)
	}
	w.must(w.Kill(t.Context(), "a"))
	if err := publish(); err != nil {
		t.Errorf("of a VM that does not run: %v", err)
	}
}

// TestPublishingOverTheEndOfTheVM: its end closes its ports, also those that are opened only
// after it.
func TestPublishingOverTheEndOfTheVM(t *testing.T) {
	w := newWorld(t)
	ports := &fakePorts{served: map[string][]api.PublishedPort{}}
	w.ports.Server = ports
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	v := w.show("dev")
	ports.opening = func() {
		if err := syscall.Kill(v.PID, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		if _, err := w.Wait(t.Context(), v.ID); err != nil {
			t.Error(err)
		}
	}
	told, err := w.Publish(t.Context(), "dev", api.PublishVM{Add: published})
	if err != nil || told.State != api.StateStopped || !slices.Equal(told.Publish, published) {
		t.Errorf("%+v, %v", told, err)
	}
	if got := ports.serves(v.ID); got != nil {
		t.Errorf("of a VM that does not run are served: %v", got)
	}
}

// stillborn is a driver whose VMMs end before anybody finds them.
type stillborn struct{ driver.Driver }

func (stillborn) Start(context.Context, driver.Spec) (driver.Machine, error) {
	return nil, driver.ErrGone
}

// TestPortsOfAVMThatEndsAtOnce: the VM is kept, and its ports are not.
func TestPortsOfAVMThatEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	ports := &fakePorts{served: map[string][]api.PublishedPort{}}
	w.ports.Server = ports
	w.machines.Drivers = []driver.Driver{stillborn{w.machines.Drivers[0]}}
	o, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, Publish: published})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "ended while the guest booted") {
		t.Errorf("%v", err)
	}
	v := w.show("dev")
	if got := ports.serves(v.ID); v.State != api.StateFailed || got != nil {
		t.Errorf("it is %s, and served are: %v", v.State, got)
	}
}

// TestPortOfAVMThatLetsGo: the port was taken when it was tried, by a VM that had stopped
// starting when that was known.
func TestPortOfAVMThatLetsGo(t *testing.T) {
	w := newWorld(t)
	ports := &fakePorts{served: map[string][]api.PublishedPort{}}
	w.ports.Server = ports
	w.must(w.Create(t.Context(), api.CreateVM{Name: "a", Publish: published}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "b", Start: true}))
	e, err := w.table.Claim("a", records.KindStart, nil)
	if err != nil {
		t.Fatal(err)
	}
	ports.opening = func() { e.Release() }
	ports.refusal = api.Errorf(api.KindConflict, "port 8080 is taken")
	_, err = w.Publish(t.Context(), "b", api.PublishVM{Add: published})
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "VM a publishes") {
		t.Errorf("%v", err)
	}
}

// TestPortsOfASuspendedVM are served under the next daemon, too, are in use for others, and are closed when its
// memory is dropped for nothing, and when it is deleted.
func TestPortsOfASuspendedVM(t *testing.T) {
	w, v, ports := publishing(t)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitReopened(t, ports, v.ID)
	served := func(when string, want []api.PublishedPort) {
		t.Helper()
		if got := ports.serves(v.ID); !slices.Equal(got, want) {
			t.Errorf("%s %v are served, and not %v", when, got, want)
		}
	}
	w.must(w.Suspend(t.Context(), "dev"))
	served("suspended,", published)
	if err := w.do(w.Create(t.Context(), api.CreateVM{Name: "other", Start: true, Publish: published})); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "VM dev publishes") {
		t.Errorf("another VM publishes its port: %v", err)
	}
	second := api.PublishedPort{Address: "127.0.0.1", HostPort: 8081, GuestPort: 81, Protocol: "tcp"}
	if _, err := w.Publish(t.Context(), "dev", api.PublishVM{Add: []api.PublishedPort{second}}); err != nil {
		t.Fatal(err)
	}
	both := append(slices.Clone(published), second)
	served("with another port,", both)

	w.leave()
	w.build()
	ports = &fakePorts{served: map[string][]api.PublishedPort{}, reopened: make(chan string, 1)}
	w.ports.Server = ports
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-ports.reopened
	served("under the next daemon,", both)
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	served("continued,", both)
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	served("stopped,", nil)

	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	w.must(w.Suspend(t.Context(), "dev"))
	ports.refusal = errors.New("they are not served now")
	if err := w.do(w.Start(t.Context(), "dev", api.StartVM{Cold: true})); err == nil {
		t.Error("it has started without its ports")
	}
	served("stopped by a start that failed,", nil)
	ports.refusal = nil
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	w.must(w.Suspend(t.Context(), "dev"))
	w.must(w.Delete(t.Context(), "dev", true))
	served("deleted,", nil)
}
