package vm

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"banger/api"
	"banger/internal/vmid"
)

// heldHost is a host that holds just what a test says. What else a Host does no
// test here asks for.
type heldHost struct {
	Host
	objects []api.HostObject
	list    func() // called while the objects are listed
}

func (h heldHost) Snapshot(v api.VM) bool                                   { return v.DiskDriver == "copy" }
func (h heldHost) Release(context.Context, string) error                    { return nil }
func (h heldHost) DetachDisk(context.Context, string) error                 { return nil }
func (h heldHost) DetachNetwork(context.Context, string) error              { return nil }
func (h heldHost) AttachNetwork(context.Context, api.VM) error              { return nil }
func (h heldHost) AttachDisk(context.Context, api.VM, string, string) error { return nil }

func (h heldHost) Addresses(_ context.Context, vms []api.VM) []string {
	return slices.Repeat([]string{"10.213.0.3"}, len(vms))
}
func (h heldHost) DiskUsage(context.Context, api.VM) (*api.DiskUsage, error) { return nil, nil }

func (h heldHost) Objects(context.Context) ([]api.HostObject, error) {
	if h.list != nil {
		h.list()
	}
	return h.objects, nil
}

// holds is what a running VM has.
func holds(id string) []api.HostObject {
	return []api.HostObject{
		{Kind: "unit", Name: vmid.Unit(id), ID: id}, {Kind: "process", Name: "1 (firecracker)", ID: id},
		{Kind: "dm", Name: vmid.Device(id), ID: id}, {Kind: "loop", Name: "loop1", ID: id},
		{Kind: "netns", Name: vmid.Netns(id), ID: id}, {Kind: "link", Name: vmid.Link(id), ID: id},
		{Kind: "jail", Name: id, ID: id}, {Kind: "loop", Name: "loop0"},
	}
}

// leaked are the findings, as "kind VM missing".
func (w *world) leaked() []string {
	w.t.Helper()
	found, err := w.Leaks(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, l := range found.Leaks {
		line := l.Kind + " " + l.VM
		if l.Missing {
			line += " missing"
		}
		if l.Why == "" || l.Name == "" {
			w.t.Errorf("%+v", l)
		}
		all = append(all, line)
	}
	return all
}

func TestLeaks(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "one", Start: true}))
	one := w.show("one")
	const other = "ffffffffffff"
	for name, c := range map[string]struct {
		objects []api.HostObject
		want    int
		line    string
	}{
		"none":           {holds(one.ID), 0, ""},
		"one is missing": {holds(one.ID)[:6], 1, "jail one missing"},
		"of no VM":       {append(holds(one.ID), api.HostObject{Kind: "netns", Name: vmid.Netns(other), ID: other}), 1, "netns "},
	} {
		w.setHost(heldHost{objects: c.objects})
		got := w.leaked()
		if len(got) != c.want || c.want > 0 && got[0] != c.line {
			t.Errorf("%s: %q", name, got)
		}
	}
	if v := w.show("one"); v.Address != "10.213.0.3" {
		t.Errorf("it can be reached at %q", v.Address)
	}
	// While an operation works on it, it may have anything.
	e, err := w.table.Claim("one", "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.setHost(heldHost{})
	if got := w.leaked(); len(got) != 0 {
		t.Errorf("while it changes: %q", got)
	}
	// So it may when the operation ends while the host is listed.
	w.setHost(heldHost{list: func() { e.Release() }})
	if got := w.leaked(); len(got) != 0 {
		t.Errorf("when it has just changed: %q", got)
	}
	w.setHost(heldHost{})
	if got := w.leaked(); len(got) != 7 {
		t.Errorf("with nothing: %q", got)
	}
	w.must(w.Kill(t.Context(), "one"))
	if got := w.leaked(); len(got) != 0 {
		t.Errorf("stopped: %q", got)
	}
	w.setHost(heldHost{objects: holds(one.ID)})
	if got := w.leaked(); len(got) != 8 { // the base's loop device, too
		t.Errorf("stopped, with everything: %q", got)
	}
}

// TestLeaksOfUserMode: what is left of a VM that the store lost.
func TestLeaksOfUserMode(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "lost", Start: true}))
	if got := w.leaked(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	lost := w.show("lost")
	if err := w.store.DeleteVM(t.Context(), lost.ID); err != nil {
		t.Fatal(err)
	}
	w.leave()
	w.enter()
	if got := w.leaked(); len(got) != 2 || got[0] != "process " || got[1] != "directory " {
		t.Errorf("%q", got)
	}
	m, err := w.machines.Drivers[0].Recover(t.Context(), lost.ID, w.Paths.VM(lost.ID), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	if err := m.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.leaked(); len(got) != 1 || got[0] != "directory " {
		t.Errorf("without its process: %q", got)
	}
	if err := os.RemoveAll(filepath.Dir(w.Paths.VM(lost.ID))); err != nil {
		t.Fatal(err)
	}
	if got := w.leaked(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestAddresses are those of VMs that run and have a network.
func TestAddresses(t *testing.T) {
	vms := []api.VM{{PID: 1}, {PID: 0}, {PID: 1, Network: api.NetworkNone}, {PID: 2}}
	(&hostSide{host: heldHost{}}).addAddresses(t.Context(), vms)
	for i, want := range []string{"10.213.0.3", "", "", "10.213.0.3"} {
		if vms[i].Address != want {
			t.Errorf("%d has %q", i, vms[i].Address)
		}
	}
	(&hostSide{}).addAddresses(t.Context(), vms)
}
