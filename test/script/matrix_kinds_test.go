package script

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/client"
	"banger/internal/driver/fake"
	"banger/internal/host/execx"
	"banger/test/harness"
)

// The VMs of the matrix: one that requests are about, and one that none of them is.
const (
	target  = "new"
	another = "other"
)

// request is one kind of change, as clients ask for it.
type request struct {
	name    string
	prepare func(m *matrix) // whatever an earlier case has left
	do      func(ctx context.Context, m *matrix) error
	fails   bool // it fails, and is undone
	// again is the kind of error that the request gives once it is done; empty: none.
	again api.Kind
	// adds says that once it is done the request makes one more of what it makes.
	adds bool
}

// port is one that leads into a guest, from a free one of the host.
func (m *matrix) port() api.PublishedPort {
	return api.PublishedPort{Address: "127.0.0.1", HostPort: m.free, GuestPort: 80, Protocol: "tcp"}
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func asked(do func(c *client.Client, ctx context.Context) error) func(context.Context, *matrix) error {
	return func(ctx context.Context, m *matrix) error { return do(m.client, ctx) }
}

func create(start bool) func(context.Context, *matrix) error {
	return func(ctx context.Context, m *matrix) error {
		req := api.CreateVM{Name: target, Start: start}
		if start {
			req.Publish = []api.PublishedPort{m.port()}
		}
		_, err := m.client.VMs().Create(ctx, req, nil)
		return err
	}
}

// requests is a case for each kind of request, and of each that can fail in the middle one
// more. TestEverythingIsInTheMatrix finds what is missing.
var requests = []request{
	{name: "create", prepare: (*matrix).none, do: create(false), again: api.KindExists},
	{name: "run", prepare: (*matrix).none, do: create(true), again: api.KindConflict}, // of its port,
	{name: "run that fails", prepare: func(m *matrix) { m.none(); m.fault(fake.FaultRefuse) }, do: create(true), fails: true},
	{name: "start", prepare: (*matrix).stopped, again: api.KindConflict, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Start(ctx, target, api.StartVM{}, nil)
		return err
	})},
	{name: "start that fails", prepare: func(m *matrix) { m.stopped(); m.fault(fake.FaultRefuse) }, fails: true, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Start(ctx, target, api.StartVM{}, nil)
		return err
	})},
	{name: "stop", prepare: (*matrix).running, again: api.KindConflict, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Stop(ctx, target, api.StopVM{GraceSeconds: 20}, nil)
		return err
	})},
	{name: "restart", prepare: (*matrix).running, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Restart(ctx, target, api.StartVM{}, nil)
		return err
	})},
	{name: "kill", prepare: (*matrix).running, again: api.KindConflict, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Kill(ctx, target, nil)
		return err
	})},
	{name: "signal", prepare: (*matrix).running, again: api.KindConflict, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Signal(ctx, target, string(api.SignalTerm), nil)
		return err
	})},
	{name: "pause", prepare: (*matrix).running, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Pause(ctx, target, nil)
		return err
	})},
	{name: "resume", prepare: func(m *matrix) {
		m.running()
		m.must(m.client.VMs().Pause(m.t.Context(), target, nil))
	}, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Resume(ctx, target, nil)
		return err
	})},
	{name: "suspend", prepare: (*matrix).running, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Suspend(ctx, target, nil)
		return err
	})},
	{name: "start of a suspended one", prepare: (*matrix).suspended, again: api.KindConflict, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Start(ctx, target, api.StartVM{}, nil)
		return err
	})},
	{name: "cold start of a suspended one", prepare: (*matrix).suspended, again: api.KindConflict, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Start(ctx, target, api.StartVM{Cold: true}, nil)
		return err
	})},
	{name: "snapshot", prepare: func(m *matrix) { m.noSnapshots(); m.running() }, again: api.KindExists, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.Snapshots().Create(ctx, target, api.SnapshotVM{Name: "made"}, nil)
		return err
	})},
	{name: "create from a snapshot", prepare: (*matrix).snapshot, again: api.KindExists, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Create(ctx, api.CreateVM{Name: target, From: "made"}, nil)
		return err
	})},
	{name: "run from a snapshot", prepare: (*matrix).snapshot, again: api.KindExists, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Create(ctx, api.CreateVM{Name: target, From: "made", Start: true}, nil)
		return err
	})},
	{name: "delete of a snapshot", prepare: (*matrix).snapshot, again: api.KindNotFound, do: asked(func(c *client.Client, ctx context.Context) error {
		return c.Snapshots().Delete(ctx, "made")
	})},
	{name: "delete", prepare: (*matrix).running, again: api.KindNotFound, do: asked(func(c *client.Client, ctx context.Context) error {
		return c.VMs().Delete(ctx, target, true, nil)
	})},
	{name: "prune", prepare: (*matrix).stopped, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Prune(ctx, nil)
		return err
	})},
	{name: "commit", adds: true, prepare: func(m *matrix) {
		m.stopped()
		m.noImage("made")
		m.must(m.client.Images().Prune(m.t.Context(), nil))
	}, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Commit(ctx, target, api.CommitVM{Name: "made"}, nil)
		return err
	})},
	{name: "rename", prepare: func(m *matrix) { m.removeVM("renamed"); m.stopped() }, again: api.KindNotFound, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Rename(ctx, target, "renamed")
		return err
	})},
	{name: "set", prepare: (*matrix).stopped, do: asked(func(c *client.Client, ctx context.Context) error {
		memory, disk := int64(192<<20), int64(2<<30)
		_, err := c.VMs().Set(ctx, target, api.SetVM{MemoryBytes: &memory, DiskBytes: &disk})
		return err
	})},
	{name: "set of one that runs", prepare: (*matrix).running, do: asked(func(c *client.Client, ctx context.Context) error {
		memory, disk := int64(192<<20), int64(2<<30)
		_, err := c.VMs().Set(ctx, target, api.SetVM{MemoryBytes: &memory, DiskBytes: &disk, Labels: map[string]string{"a": "b"}})
		return err
	})},
	{name: "start with a larger disk", prepare: func(m *matrix) {
		m.stopped()
		disk := int64(2 << 30)
		m.must(m.client.VMs().Set(m.t.Context(), target, api.SetVM{DiskBytes: &disk}))
	}, again: api.KindConflict, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.VMs().Start(ctx, target, api.StartVM{}, nil)
		return err
	})},
	{name: "publish", prepare: (*matrix).running, do: func(ctx context.Context, m *matrix) error {
		_, err := m.client.VMs().Publish(ctx, target, api.PublishVM{Add: []api.PublishedPort{m.port()}})
		return err
	}},
	{name: "unpublish", prepare: func(m *matrix) {
		m.running()
		m.must(m.client.VMs().Publish(m.t.Context(), target, api.PublishVM{Add: []api.PublishedPort{m.port()}}))
	}, again: api.KindNotFound, do: func(ctx context.Context, m *matrix) error {
		_, err := m.client.VMs().Publish(ctx, target, api.PublishVM{Remove: []api.PublishedPort{m.port()}})
		return err
	}},
	{name: "image pull", prepare: func(m *matrix) { m.noImage(m.reference) }, do: func(ctx context.Context, m *matrix) error {
		_, err := m.client.Images().Pull(ctx, api.PullImage{Name: m.reference}, nil)
		return err
	}},
	{name: "image import", prepare: func(m *matrix) { m.noImage("made") }, do: importMade},
	{name: "image register", prepare: func(m *matrix) { m.noImage("inplace") }, do: registerMade},
	{name: "image promote", prepare: func(m *matrix) { m.noImage("inplace"); m.ok(registerMade(m.t.Context(), m)) }, again: api.KindConflict, do: func(ctx context.Context, m *matrix) error {
		_, err := m.client.Images().Promote(ctx, api.PromoteImage{Image: "inplace"}, nil)
		return err
	}},
	{name: "image tag", prepare: func(m *matrix) { m.noImage("alias") }, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.Images().Tag(ctx, api.TagImage{Image: "tiny", Name: "alias"})
		return err
	})},
	{name: "image delete", prepare: func(m *matrix) { m.noImage("made"); m.ok(importMade(m.t.Context(), m)) }, again: api.KindNotFound, do: asked(func(c *client.Client, ctx context.Context) error {
		return c.Images().Delete(ctx, "made")
	})},
	{name: "image prune", prepare: func(m *matrix) {
		m.ok(importMade(m.t.Context(), m))
		m.must(m.client.Images().Tag(m.t.Context(), api.TagImage{Image: "tiny", Name: "made"})) // which the other one loses
	}, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.Images().Prune(ctx, nil)
		return err
	})},
	{name: "kernel pull", prepare: func(*matrix) {}, do: asked(func(c *client.Client, ctx context.Context) error {
		_, err := c.Kernels().Pull(ctx, api.PullKernel{}, nil)
		return err
	})},
	{name: "kernel import", prepare: (*matrix).noKernel, do: importKernel},
	{name: "kernel delete", prepare: func(m *matrix) { m.noKernel(); m.ok(importKernel(m.t.Context(), m)) }, again: api.KindNotFound, do: asked(func(c *client.Client, ctx context.Context) error {
		return c.Kernels().Delete(ctx, "made")
	})},
}

func importMade(ctx context.Context, m *matrix) error {
	_, err := m.client.Images().Import(ctx, api.ImportImage{Path: filepath.Join(m.parts, "made.tar"), Name: "made"}, nil)
	return err
}

func registerMade(ctx context.Context, m *matrix) error {
	_, err := m.client.Images().Register(ctx, api.RegisterImage{Name: "inplace", Rootfs: filepath.Join(m.parts, "made.ext4")}, nil)
	return err
}

func importKernel(ctx context.Context, m *matrix) error {
	_, err := m.client.Kernels().Import(ctx, api.ImportKernel{Path: filepath.Join(m.parts, "vmlinux"), Modules: filepath.Join(m.parts, "modules"), Name: "made"}, nil)
	return err
}

// makeParts makes what is imported.
func makeParts(t *testing.T, dir string) {
	t.Helper()
	if err := harness.FakeKernel(dir, "one of the matrix"); err != nil {
		t.Fatal(err)
	}
	if err := smallTar(filepath.Join(dir, "made.tar")); err != nil {
		t.Fatal(err)
	}
	err := execx.Run(t.Context(), execx.Cmd{Name: "mke2fs", Args: []string{"-q", "-F", "-t", "ext4", filepath.Join(dir, "made.ext4"), "8M"}, Package: "e2fsprogs"})
	if err != nil {
		t.Fatal(err)
	}
}

// must and ok end the test where what a case needs cannot be made.
func (m *matrix) must(_ any, err error) { m.t.Helper(); m.ok(err) }

func (m *matrix) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *matrix) removeVM(name string) {
	m.t.Helper()
	if err := m.client.VMs().Delete(m.t.Context(), name, true, nil); api.KindOf(err) != api.KindNotFound {
		m.ok(err)
	}
}

func (m *matrix) none() { m.t.Helper(); m.removeVM(target) }

func (m *matrix) stopped() {
	m.t.Helper()
	m.none()
	m.must(m.client.VMs().Create(m.t.Context(), api.CreateVM{Name: target}, nil))
}

func (m *matrix) running() {
	m.t.Helper()
	m.none()
	m.must(m.client.VMs().Create(m.t.Context(), api.CreateVM{Name: target, Start: true}, nil))
}

func (m *matrix) suspended() {
	m.t.Helper()
	m.running()
	m.must(m.client.VMs().Suspend(m.t.Context(), target, nil))
}

// snapshot makes a snapshot of a VM that is deleted then.
func (m *matrix) snapshot() {
	m.t.Helper()
	m.noSnapshots()
	m.running()
	_, err := m.client.Snapshots().Create(m.t.Context(), target, api.SnapshotVM{Name: "made"}, nil)
	m.ok(err)
	m.none()
}

func (m *matrix) noSnapshots() {
	m.t.Helper()
	if err := m.client.Snapshots().Delete(m.t.Context(), "made"); api.KindOf(err) != api.KindNotFound {
		m.ok(err)
	}
}

func (m *matrix) noImage(name string) {
	m.t.Helper()
	if err := m.client.Images().Delete(m.t.Context(), name); api.KindOf(err) != api.KindNotFound {
		m.ok(err)
	}
}

func (m *matrix) noKernel() {
	m.t.Helper()
	if err := m.client.Kernels().Delete(m.t.Context(), "made"); api.KindOf(err) != api.KindNotFound {
		m.ok(err)
	}
}

// state is all that there is, as clients see it, without what differs from run to run.
func (m *matrix) state() string {
	m.t.Helper()
	ctx := m.t.Context()
	var b strings.Builder
	vms, err := m.client.VMs().List(ctx)
	m.ok(err)
	for _, v := range vms {
		fmt.Fprintf(&b, "VM %s %s runs=%t publishes %v of %s, has %d and %d, %v\n", v.Name, v.State, v.PID > 0, v.Publish, v.Image, v.MemoryBytes, v.DiskSize(), v.Labels)
		if v.Next != nil {
			fmt.Fprintf(&b, "  next %+v\n", *v.Next)
		}
	}
	snapshots, err := m.client.Snapshots().List(ctx)
	m.ok(err)
	for _, s := range snapshots {
		fmt.Fprintf(&b, "snapshot %s of %s\n", s.Name, s.VM)
	}
	images, err := m.client.Images().List(ctx)
	m.ok(err)
	for _, i := range images {
		fmt.Fprintf(&b, "image %q\n", i.Names)
	}
	kernels, err := m.client.Kernels().List(ctx)
	m.ok(err)
	for _, k := range kernels {
		fmt.Fprintf(&b, "kernel %q\n", k.Names)
	}
	return b.String()
}
