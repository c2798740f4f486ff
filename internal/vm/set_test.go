package vm

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/label"
	"banger/internal/vm/records"
)

// TestADiskGrows: what is recorded counts, the next start makes the file as long as that, and
// what it was made from is found and kept as before.
func TestADiskGrows(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", DiskBytes: 1 << 30}))
	set := func(disk int64) (api.VM, error) {
		return w.Set(t.Context(), "dev", api.SetVM{DiskBytes: &disk})
	}
	id := w.show("dev").ID
	for what, disk := range map[string]int64{"smaller": 1<<30 - mib, "none": 0, "no whole MiB": 1<<30 + 1, "longer than any": 32 << 40} {
		if v, err := set(disk); api.KindOf(err) != api.KindInvalid || api.AsError(err).Hint == "" {
			t.Errorf("%s: %d, %v", what, v.DiskSize(), err)
		}
	}
	if v, err := set(1 << 30); err != nil || v.GrownBytes != 0 {
		t.Errorf("as it is: %d, %v", v.GrownBytes, err)
	}
	if v, err := set(2 << 30); err != nil || v.DiskSize() != 2<<30 {
		t.Errorf("larger: %d, %v", v.DiskSize(), err)
	}
	if sizes, known := w.DisksInUse(digest); !known || len(sizes) != 1 || sizes[0] != 1<<30 {
		t.Errorf("disks in use: %v, %v", sizes, known)
	}
	length := func() int64 {
		info, err := os.Stat(w.disks.Path(id))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if length() >= 2<<30 {
		t.Error("the disk is longer before the start")
	}
	w.leave()
	w.enter()
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	if got := length(); got != 2<<30 {
		t.Errorf("after the start it has %d bytes", got)
	}
	f, err := os.Open(w.disks.Path(id))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begins := make([]byte, 9)
	if _, err := io.ReadFull(f, begins); err != nil || string(begins) != "the image" {
		t.Errorf("it begins with %q, %v", begins, err)
	}
	if v, err := set(3 << 30); err != nil || v.DiskSize() != 3<<30 || v.Next != nil || length() != 3<<30 {
		t.Errorf("while it runs: %d, %+v, a file of %d, %v", v.DiskSize(), v.Next, length(), err)
	}
	if _, err := set(2 << 30); api.KindOf(err) != api.KindInvalid {
		t.Errorf("smaller while it runs: %v", err)
	}
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	if _, err := set(1 << 30); api.KindOf(err) != api.KindInvalid {
		t.Errorf("back to what it was: %v", err)
	}
}

// TestADiskGrowsInSystemMode before it is attached.
func TestADiskGrowsInSystemMode(t *testing.T) {
	h := &host{}
	w := newWorldOn(t, h)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", DiskBytes: 1 << 30}))
	disk := int64(2 << 30)
	if _, err := w.Set(t.Context(), "dev", api.SetVM{DiskBytes: &disk}); err != nil {
		t.Fatal(err)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.attached != disk {
		t.Errorf("a disk of %d bytes was attached", h.attached)
	}
}

// ptr returns a pointer to a value, as a request has it.
func ptr[T any](v T) *T { return &v }

// TestARunningVMIsSet for its next start: until then it has what it has, whatever happens to the
// daemon, and then what it is to have.
func TestARunningVMIsSet(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	set := func(req api.SetVM) api.VM {
		t.Helper()
		v, err := w.Set(t.Context(), "dev", req)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := set(api.SetVM{VCPUs: ptr(4), MemoryBytes: ptr[int64](512 * mib), Network: ptr(api.NetworkNone)})
	want := api.NextStart{VCPUs: 4, MemoryBytes: 512 * mib, Network: api.NetworkNone}
	if v.VCPUs != 1 || v.MemoryBytes != 256*mib || v.Network != "" || v.Next == nil || *v.Next != want {
		t.Errorf("it has %+v, next %+v", v, v.Next)
	}
	// What it has again needs no next start; another change leaves the rest.
	v = set(api.SetVM{VCPUs: ptr(1), Network: ptr(api.NetworkNAT), Labels: map[string]string{"a": "b"}})
	if v.Next == nil || *v.Next != (api.NextStart{MemoryBytes: 512 * mib}) || v.Labels["a"] != "b" {
		t.Errorf("next %+v", v.Next)
	}
	set(api.SetVM{VCPUs: ptr(2), Network: ptr(api.NetworkIsolated)})
	w.leave()
	w.enter()
	if v := w.show("dev"); v.VCPUs != 1 || v.Next == nil || v.Next.VCPUs != 2 {
		t.Errorf("after a restart of the daemon: %d, next %+v", v.VCPUs, v.Next)
	}
	w.must(w.Restart(t.Context(), "dev", api.StartVM{}))
	if v := w.show("dev"); v.VCPUs != 2 || v.MemoryBytes != 512*mib || v.Network != api.NetworkIsolated || v.Next != nil || v.Labels["a"] != "b" {
		t.Errorf("after a restart: %+v, next %+v", v, v.Next)
	}
	set(api.SetVM{VCPUs: ptr(3), Network: ptr(api.NetworkNAT)})
	w.must(w.Kill(t.Context(), "dev"))
	if v := w.show("dev"); v.VCPUs != 3 || v.Network != "" || v.Next != nil {
		t.Errorf("after its end: %d, next %+v", v.VCPUs, v.Next)
	}
}

// TestTheEndOfAVMThatNobodySaw: what a VM was to have, it has if a daemon finds that it has ended.
func TestTheEndOfAVMThatNobodySaw(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	if _, err := w.Set(t.Context(), "dev", api.SetVM{VCPUs: ptr(4)}); err != nil {
		t.Fatal(err)
	}
	pid := w.show("dev").PID
	w.leave()
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	w.enter()
	if v := w.show("dev"); v.State == api.StateRunning || v.VCPUs != 4 || v.Next != nil {
		t.Errorf("%s: %d, next %+v", v.State, v.VCPUs, v.Next)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
}

// TestSetRefuses what is wrong before anything is changed.
func TestSetRefuses(t *testing.T) {
	for _, runs := range []bool{false, true} {
		w := newWorld(t)
		w.ports.Server = &fakePorts{served: map[string][]api.PublishedPort{}}
		w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: runs, Labels: map[string]string{"a": "b"}}))
		before := w.show("dev")
		many := map[string]string{}
		for i := range 65 {
			many[strings.Repeat("k", i+1)[:min(i+1, 60)]+string(rune('a'+i%26))] = ""
		}
		port := api.PublishedPort{Address: "127.0.0.1", HostPort: 8080, GuestPort: 80, Protocol: "tcp"}
		for what, req := range map[string]api.SetVM{
			"no vCPU":           {VCPUs: ptr(0)},
			"fewer":             {VCPUs: ptr(-1)},
			"many vCPUs":        {VCPUs: ptr(1 << 20)},
			"no memory":         {MemoryBytes: ptr[int64](0)},
			"less":              {MemoryBytes: ptr[int64](-1)},
			"much":              {MemoryBytes: ptr[int64](1 << 62)},
			"no whole MiB":      {MemoryBytes: ptr[int64](256*mib + 1)},
			"no disk":           {DiskBytes: ptr[int64](0)},
			"a smaller disk":    {DiskBytes: ptr[int64](mib)},
			"a huge disk":       {DiskBytes: ptr[int64](1 << 62)},
			"an odd disk":       {DiskBytes: ptr[int64](2<<30 + 1)},
			"another network":   {Network: ptr("bridge")},
			"nothing":           {Network: ptr("")},
			"a bad key":         {Labels: map[string]string{"a b": ""}},
			"a bad value":       {Labels: map[string]string{"a": "\n"}},
			"many labels":       {Labels: many},
			"to remove a bad":   {RemoveLabels: []string{"-"}},
			"both":              {Labels: map[string]string{"a": "c"}, RemoveLabels: []string{"a"}},
			"a port twice":      {Publish: &[]api.PublishedPort{port, port}},
			"not a port":        {Publish: &[]api.PublishedPort{{Address: "127.0.0.1", GuestPort: -1, Protocol: "tcp"}}},
			"good, and one bad": {VCPUs: ptr(2), Labels: map[string]string{"c": "d"}, MemoryBytes: ptr[int64](1)},
		} {
			if _, err := w.Set(t.Context(), "dev", req); api.KindOf(err) != api.KindInvalid {
				t.Errorf("%s: %v", what, err)
			}
		}
		after := w.show("dev")
		if after.VCPUs != before.VCPUs || after.MemoryBytes != before.MemoryBytes || after.DiskSize() != before.DiskSize() ||
			after.Network != "" || after.Next != nil || len(after.Publish) != 0 || !maps.Equal(after.Labels, before.Labels) {
			t.Errorf("it was %+v, and is %+v", before, after)
		}
		w.must(w.Create(t.Context(), api.CreateVM{Name: "tools", Tools: api.ToolsMise}))
		for _, network := range []string{api.NetworkNone, api.NetworkIsolated} {
			if _, err := w.Set(t.Context(), "tools", api.SetVM{Network: &network}); api.KindOf(err) != api.KindInvalid {
				t.Errorf("tools, and network %s: %v", network, err)
			}
		}
		if _, err := w.Create(t.Context(), api.CreateVM{Labels: map[string]string{"": ""}}); api.KindOf(err) != api.KindInvalid {
			t.Errorf("created with a bad label: %v", err)
		}
	}
}

// TestSetPublishes exactly what is asked for, at once.
func TestSetPublishes(t *testing.T) {
	w := newWorld(t)
	served := &fakePorts{served: map[string][]api.PublishedPort{}}
	w.ports.Server = served
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	id := w.show("dev").ID
	port := func(n int) api.PublishedPort {
		return api.PublishedPort{Address: "127.0.0.1", HostPort: n, GuestPort: 80, Protocol: "tcp"}
	}
	for _, ports := range [][]api.PublishedPort{{port(8080), port(8081)}, {port(8082)}} {
		v, err := w.Set(t.Context(), "dev", api.SetVM{Publish: &ports})
		if err != nil || len(v.Publish) != len(ports) || v.Publish[0] != ports[0] || len(served.served[id]) != len(ports) {
			t.Errorf("%v are %v, %v served: %v", ports, v.Publish, served.served[id], err)
		}
	}
	served.refusal = errors.New("it is taken")
	if _, err := w.Set(t.Context(), "dev", api.SetVM{Publish: &[]api.PublishedPort{port(8083)}, VCPUs: ptr(2)}); err == nil {
		t.Error("a port that is taken")
	}
	if v := w.show("dev"); v.Publish[0] != port(8082) || v.Next != nil {
		t.Errorf("then it is %+v, next %+v", v.Publish, v.Next)
	}
	served.refusal = nil
	if v, err := w.Set(t.Context(), "dev", api.SetVM{Publish: &[]api.PublishedPort{}}); err != nil || len(v.Publish) != 0 || len(served.served[id]) != 0 {
		t.Errorf("none are %v, %v", v.Publish, err)
	}
}

// TestADiskThatCannotGrowNow grows at the next start, and the VM says why.
func TestADiskThatCannotGrowNow(t *testing.T) {
	w := newWorld(t)
	w.fault("old")
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", DiskBytes: 1 << 30, Start: true}))
	for range 2 { // it can be tried again
		v, err := w.Set(t.Context(), "dev", api.SetVM{DiskBytes: ptr[int64](2 << 30)})
		if err != nil || v.DiskSize() != 1<<30 || v.Next == nil || v.Next.DiskBytes != 2<<30 || !strings.Contains(v.Next.DiskReason, "older banger") {
			t.Errorf("it has %d, next %+v, %v", v.DiskSize(), v.Next, err)
		}
	}
	if v, err := w.Set(t.Context(), "dev", api.SetVM{VCPUs: ptr(2)}); err != nil || v.Next.DiskBytes != 2<<30 || v.Next.DiskReason == "" {
		t.Errorf("another change: next %+v, %v", v.Next, err)
	}
	if _, err := w.Set(t.Context(), "dev", api.SetVM{DiskBytes: ptr[int64](1 << 30)}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("smaller than it is about to be: %v", err)
	}
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	if v := w.show("dev"); v.DiskSize() != 2<<30 || v.Next != nil {
		t.Errorf("then it has %d, next %+v", v.DiskSize(), v.Next)
	}
}

// killed is a store that fails after a number of records, as a daemon that is killed records no more.
type killed struct {
	records.Store
	left int
}

func (k *killed) PutVM(ctx context.Context, v api.VM) error {
	if k.left--; k.left < 0 {
		return errors.New("killed")
	}
	return k.Store.PutVM(ctx, v)
}

// TestADaemonIsKilledWhileADiskGrows: the VM has one size or the other, and the next start makes
// what was asked for.
func TestADaemonIsKilledWhileADiskGrows(t *testing.T) {
	for records, want := range map[int]int64{0: 1 << 30, 1: 2 << 30} {
		w := newWorld(t)
		w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", DiskBytes: 1 << 30, Start: true}))
		id, store := w.show("dev").ID, w.table.Store
		w.table.Store = &killed{store, records}
		if _, err := w.Set(t.Context(), "dev", api.SetVM{DiskBytes: ptr[int64](2 << 30)}); err == nil {
			t.Error("it has grown")
		}
		w.table.Store = store
		w.leave()
		w.enter()
		if v := w.show("dev"); v.DiskSize() != 1<<30 {
			t.Errorf("after %d records it has %d", records, v.DiskSize())
		}
		w.must(w.Restart(t.Context(), "dev", api.StartVM{}))
		info, err := os.Stat(w.disks.Path(id))
		if v := w.show("dev"); err != nil || v.DiskSize() != want || want > 1<<30 && info.Size() != want || v.Next != nil {
			t.Errorf("after %d records and a restart it has %d, next %+v, %v", records, v.DiskSize(), v.Next, err)
		}
	}
}

// TestTwoSets at once: each is done or refused as a whole.
func TestTwoSets(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	var all sync.WaitGroup
	done := make([]bool, 8)
	for i := range done {
		all.Go(func() {
			key := string(rune('a' + i))
			_, err := w.Set(t.Context(), "dev", api.SetVM{Labels: map[string]string{key: "1"}, VCPUs: ptr(2 + i%4)})
			if done[i] = err == nil; err != nil && api.KindOf(err) != api.KindConflict {
				t.Error(err)
			}
		})
	}
	all.Wait()
	labels := w.show("dev").Labels
	for i := range done {
		if _, set := labels[string(rune('a'+i))]; set != done[i] {
			t.Errorf("%d: done %v, and the labels are %s", i, done[i], label.Text(labels))
		}
	}
}

// TestARestartWithMoreMemory needs it on the host.
func TestARestartWithMoreMemory(t *testing.T) {
	w := newWorld(t)
	w.hostMemory(600 * mib)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "one", Start: true}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "two", Start: true}))
	if _, err := w.Set(t.Context(), "one", api.SetVM{MemoryBytes: ptr[int64](512 * mib)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Restart(t.Context(), "one", api.StartVM{}); api.KindOf(err) != api.KindConflict {
		t.Errorf("there is memory for both: %v", err)
	}
	w.must(w.Stop(t.Context(), "two", api.StopVM{}))
	w.must(w.Restart(t.Context(), "one", api.StartVM{}))
}

// TestLabelsAtAnyTime: no operation on a VM keeps its labels from being set, and none loses them.
func TestLabelsAtAnyTime(t *testing.T) {
	w := newWorld(t)
	w.fault("slow=300ms")
	o, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Set(t.Context(), "dev", api.SetVM{VCPUs: ptr(2)}); api.KindOf(err) != api.KindConflict {
		t.Errorf("it was changed while it started: %v", err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := w.Set(t.Context(), "dev", api.SetVM{Labels: map[string]string{string(rune('a' + i)): "1"}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.must(o, nil)
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	if v, err := w.Set(t.Context(), "dev", api.SetVM{RemoveLabels: []string{"a", "absent"}}); err != nil || len(v.Labels) != 7 {
		t.Errorf("%s, %v", label.Text(v.Labels), err)
	}
	w.leave()
	w.enter()
	if got := label.Text(w.show("dev").Labels); got != "b=1, c=1, d=1, e=1, f=1, g=1, h=1" {
		t.Error(got)
	}
	id := w.show("dev").ID
	w.must(w.Delete(t.Context(), "dev", false))
	if _, err := w.Set(t.Context(), id, api.SetVM{RemoveLabels: []string{"b"}}); api.KindOf(err) != api.KindNotFound {
		t.Errorf("of one that is gone: %v", err)
	}
}

// fixed is a driver of machines whose disk cannot grow, as those of system mode.
type fixed struct{ driver.Driver }

func (f fixed) Start(ctx context.Context, s driver.Spec) (driver.Machine, error) {
	m, err := f.Driver.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	return struct{ driver.Machine }{m}, nil
}

// TestAVMMThatCannotGrowADisk leaves it to the next start.
func TestAVMMThatCannotGrowADisk(t *testing.T) {
	w := newWorld(t)
	w.machines.Drivers = []driver.Driver{fixed{w.machines.Drivers[0]}}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", DiskBytes: 1 << 30, Start: true}))
	v, err := w.Set(t.Context(), "dev", api.SetVM{DiskBytes: ptr[int64](2 << 30)})
	if err != nil || v.DiskSize() != 1<<30 || v.Next == nil || v.Next.DiskReason != "in system mode a disk cannot grow while it is in use" {
		t.Errorf("it has %d, next %+v, %v", v.DiskSize(), v.Next, err)
	}
	w.must(w.Restart(t.Context(), "dev", api.StartVM{}))
	if v := w.show("dev"); v.DiskSize() != 2<<30 || v.Next != nil {
		t.Errorf("then it has %d, next %+v", v.DiskSize(), v.Next)
	}
}
