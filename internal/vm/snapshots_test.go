package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/op"
	"banger/internal/vm/instance"
	"banger/internal/vm/records"
	"banger/internal/vm/snapshots"
)

// snapshot makes a snapshot of the VM dev.
func snapshot(t *testing.T, w *world, req api.SnapshotVM) api.Snapshot {
	return snapshotOf(t, w, "dev", req)
}

func snapshotOf(t *testing.T, w *world, name string, req api.SnapshotVM) api.Snapshot {
	t.Helper()
	o, err := w.Snapshots.Snapshot(t.Context(), name, req)
	w.must(o, err)
	var made api.Snapshot
	err = o.Follow(t.Context(), func(e api.Event) error {
		if e.Result != nil {
			made = *e.Result.Snapshot
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newSnapshot(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	snapshot(t, w, api.SnapshotVM{Name: "point"})
	return w
}

// kept are what there is of snapshots on the disk.
func (w *world) kept() []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.Paths.Snapshots())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestSnapshot: the VM goes on, and others begin with what it was. They are VMs of their own, and stay when the
// snapshot goes.
func TestSnapshot(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	if err := os.WriteFile(w.disks.Path(w.show("dev").ID), []byte("then"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := snapshot(t, w, api.SnapshotVM{Name: "point"})
	if s.Name != "point" || s.VM != "dev" || s.UsedBytes == 0 || s.MemoryBytes != w.show("dev").MemoryBytes {
		t.Errorf("it is %+v", s)
	}
	goesOn(t, w)
	if err := os.WriteFile(w.disks.Path(w.show("dev").ID), []byte("later"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "one", From: "point", Start: true, Labels: map[string]string{"a": "b"}}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "two", From: s.ID[:6]}))
	if v := w.show("two"); v.State != api.StateSuspended {
		t.Errorf("one that was not started is %s", v.State)
	}
	if err := w.Snapshots.Delete("point"); err != nil {
		t.Fatal(err)
	}
	if left := w.kept(); left != nil {
		t.Errorf("left of the snapshot: %q", left)
	}
	w.must(w.Start(t.Context(), "two", api.StartVM{}))
	for _, name := range []string{"one", "two"} {
		v := w.show(name)
		if v.State != api.StateRunning || v.Origin == nil || v.Origin.Name != "point" || v.Origin.VM != "dev" || v.Generation != 1 || v.StartedAt == nil {
			t.Errorf("%s is %+v", name, v)
			continue
		}
		if len(v.Origin.Steps) == 0 || v.Origin.Steps[0].Name != "random" || v.Origin.Steps[0].State != "done" {
			t.Errorf("what made %s another VM: %+v", name, v.Origin.Steps)
		}
		if data, err := os.ReadFile(w.disks.Path(v.ID)); string(data) != "then" {
			t.Errorf("the disk of %s: %q, %v", name, data, err)
		}
		w.health(name)
		if _, err := os.Stat(filepath.Join(w.Paths.VM(v.ID), "saved")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the memory of %s is there: %v", name, err)
		}
	}
	if v := w.show("one"); v.Labels["a"] != "b" {
		t.Errorf("its labels are %v", v.Labels)
	}
	w.leave()
	w.enter()
	w.health("one")
	// Once it is another VM, it is woken as any other.
	w.Suspender.Changed = func(api.VM, *instance.Instance) ([]api.OriginStep, error) {
		t.Error("it is asked again whether it is another VM")
		return nil, nil
	}
	w.must(w.Suspend(t.Context(), "one"))
	w.must(w.Start(t.Context(), "one", api.StartVM{}))
	w.Suspender.Changed = snapshots.Changed
	// Once it is booted it is no copy any more.
	w.must(w.Stop(t.Context(), "one", api.StopVM{}))
	w.must(w.Start(t.Context(), "one", api.StartVM{}))
	if v := w.show("one"); v.Generation != 0 || v.Origin == nil {
		t.Errorf("booted, it is of generation %d", v.Generation)
	}
	// A copy of a copy is another one again.
	again := snapshotOf(t, w, "two", api.SnapshotVM{Temporary: true})
	w.must(w.Create(t.Context(), api.CreateVM{Name: "three", From: again.ID, Start: true}))
	if v := w.show("three"); v.Generation != 2 || v.BootID == w.show("two").BootID {
		t.Errorf("the copy of a copy has generation %d and boot %s", v.Generation, v.BootID)
	}
}

// TestSnapshotIsRefused: before anything is touched.
func TestSnapshotIsRefused(t *testing.T) {
	w := newSnapshot(t)
	for name, c := range map[string]struct {
		do   func() (*op.Op, error)
		kind api.Kind
	}{
		"its name is taken": {func() (*op.Op, error) { return w.Snapshots.Snapshot(t.Context(), "dev", api.SnapshotVM{Name: "point"}) }, api.KindExists},
		"not a name":        {func() (*op.Op, error) { return w.Snapshots.Snapshot(t.Context(), "dev", api.SnapshotVM{Name: "../x"}) }, api.KindInvalid},
		"a name for a moment": {func() (*op.Op, error) {
			return w.Snapshots.Snapshot(t.Context(), "dev", api.SnapshotVM{Name: "x", Temporary: true})
		}, api.KindInvalid},
		"no such VM":       {func() (*op.Op, error) { return w.Snapshots.Snapshot(t.Context(), "other", api.SnapshotVM{}) }, api.KindNotFound},
		"no such snapshot": {func() (*op.Op, error) { return w.Create(t.Context(), api.CreateVM{From: "other"}) }, api.KindNotFound},
		"another size":     {func() (*op.Op, error) { return w.Create(t.Context(), api.CreateVM{From: "point", MemoryBytes: mib}) }, api.KindInvalid},
		"another image":    {func() (*op.Op, error) { return w.Create(t.Context(), api.CreateVM{From: "point", Image: "tiny"}) }, api.KindInvalid},
	} {
		if err := w.do(c.do()); api.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.must(w.Suspend(t.Context(), "dev"))
	if err := w.do(w.Snapshots.Snapshot(t.Context(), "dev", api.SnapshotVM{})); api.KindOf(err) != api.KindConflict || api.AsError(err).Hint == "" {
		t.Errorf("of a suspended VM: %v", err)
	}
	if n := len(w.table.Snapshots()); n != 1 {
		t.Errorf("there are %d VMs", n)
	}
	if left := w.kept(); len(left) != 1 {
		t.Errorf("there are the snapshots %q", left)
	}
}

// TestSnapshotFails: the VM runs on, thawed, and nothing is left of the attempt.
func TestSnapshotFails(t *testing.T) {
	w, f := newFaulty(t)
	f.save = func(context.Context) error { return syscall.ENOSPC }
	if err := w.do(w.Snapshots.Snapshot(t.Context(), "dev", api.SnapshotVM{})); api.KindOf(err) != api.KindNoSpace {
		t.Errorf("a full disk: %v", err)
	}
	goesOn(t, w)
	if left := w.kept(); left != nil {
		t.Errorf("left: %q", left)
	}
	f.save = works
	snapshot(t, w, api.SnapshotVM{})
	goesOn(t, w)
}

// TestCopyThatIsNoOther: a guest that has not become another VM does not run beside the one that it is a copy of.
func TestCopyThatIsNoOther(t *testing.T) {
	w := newSnapshot(t)
	w.Suspender.Changed = func(api.VM, *instance.Instance) ([]api.OriginStep, error) {
		return nil, errors.New("the random numbers are the same")
	}
	err := w.do(w.Create(t.Context(), api.CreateVM{Name: "copy", From: "point", Start: true}))
	if err == nil || !strings.Contains(err.Error(), "the random numbers are the same") || !strings.Contains(api.AsError(err).Hint, "banger vm start copy") {
		t.Errorf("%v", err)
	}
	if v := w.show("copy"); v.State != api.StateStopped || v.PID != 0 {
		t.Errorf("it is %s (%s)", v.State, v.Reason)
	}
	w.must(w.Start(t.Context(), "copy", api.StartVM{})) // boots it
	if v := w.show("copy"); v.State != api.StateRunning || v.Generation != 0 {
		t.Errorf("booted, it is %s, of generation %d", v.State, v.Generation)
	}
	goesOn(t, w)
}

// TestSnapshotKeepsItsImage: an image and a kernel are in use as long as a snapshot needs them.
func TestSnapshotKeepsItsImage(t *testing.T) {
	w := newSnapshot(t)
	v := w.show("dev")
	w.must(w.Delete(t.Context(), "dev", true))
	for _, digest := range []string{v.ImageDigest, v.KernelDigest} {
		if users := w.InUse(digest); !slices.Equal(users, []string{"snapshot point"}) {
			t.Errorf("users of %s: %q", digest, users)
		}
	}
	if sizes, known := w.DisksInUse(v.ImageDigest); !known || !slices.Equal(sizes, []int64{v.DiskBytes}) {
		t.Errorf("sizes of disks: %v, %v", sizes, known)
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", From: "point", Start: true}))
	goesOn(t, w)
}

// TestTemporarySnapshots: one that nobody has removed goes once another one is made.
func TestTemporarySnapshots(t *testing.T) {
	w := newSnapshot(t)
	old := snapshot(t, w, api.SnapshotVM{Temporary: true})
	file := filepath.Join(w.Paths.Snapshots(), old.ID, "manifest.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-2 * time.Hour).Format("2006-01-02T15")
	aged := strings.Replace(string(data), old.CreatedAt.Format("2006-01-02T15"), then, 1)
	if err := os.WriteFile(file, []byte(aged), 0o600); err != nil {
		t.Fatal(err)
	}
	young := snapshot(t, w, api.SnapshotVM{Temporary: true})
	all, err := w.Snapshots.List()
	if err != nil || len(all) != 2 || all[0].Name != "point" || all[1].ID != young.ID {
		t.Errorf("there are %+v, %v", all, err)
	}
}

// TestSnapshotOfAnEarlierDaemon: the next one makes it, or undoes it, wherever the former one was.
func TestSnapshotOfAnEarlierDaemon(t *testing.T) {
	const id = "0123456789ab"
	params := `{"id":"` + id + `","name":"point"}`
	for name, c := range map[string]struct {
		undoing, made bool
		want          []string
	}{
		"nothing yet": {want: []string{id}},
		"made":        {made: true, want: []string{id}},
		"undoing":     {undoing: true, made: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
			e := w.table.ByID(w.show("dev").ID)
			plan, err := w.Snapshots.Again(e, params)
			if err != nil {
				t.Fatal(err)
			}
			if c.made {
				if err := plan.Steps[0].Do(t.Context(), func(api.Progress) {}); err != nil {
					t.Fatal(err)
				}
			}
			w.leaveOp(api.Operation{Kind: records.KindSnapshot, Target: e.ID(), Step: "snapshot", Params: params}, c.undoing)
			goesOn(t, w)
			if left := w.kept(); !slices.Equal(left, c.want) {
				t.Errorf("there are %q", left)
			}
		})
	}
}
