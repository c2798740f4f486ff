package drivertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/guest/agentproto"
)

const (
	idC = "00000000000c"
	// still is how long a machine that stands still is tried.
	still = 200 * time.Millisecond
)

// saver starts a machine that answers and can be saved, or returns nil if the driver cannot do that.
func saver(t *testing.T, h Harness) (driver.Driver, driver.Spec, driver.Saver, agentproto.Ack) {
	t.Helper()
	d := h.New(t)
	if _, ok := d.(driver.Restorer); !ok {
		t.Logf("driver %s does not restore machines: nothing to test", d.Name())
		return nil, driver.Spec{}, nil, agentproto.Ack{}
	}
	s := h.Spec(t, idA)
	m := start(t, d, s)
	ack := answers(t, h, m)
	return d, s, m.(driver.Saver), ack
}

// save saves a machine, and checks that it stands still.
func save(t *testing.T, m driver.Saver) string {
	t.Helper()
	dir := t.TempDir()
	begin := time.Now()
	if err := m.Save(t.Context(), dir); err != nil {
		t.Fatalf("Save: %v", err)
	}
	took := time.Since(begin)
	saved, err := driver.ReadSaved(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("saved in %s: %+v", took, saved)
	if greet(t, m.(driver.Machine), still) == nil {
		t.Error("a machine answers after it was saved")
	}
	return dir
}

// child is a machine's spec with a copy of the disk of another's.
func child(t *testing.T, h Harness, id string, of driver.Spec) driver.Spec {
	t.Helper()
	s := h.Spec(t, id)
	from, err := os.Open(of.Disk)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(s.Disk)
	if err == nil {
		_, err = io.Copy(to, from)
		err = errors.Join(err, to.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Kernel, s.Initramfs = "/nowhere", "/nowhere" // it boots nothing
	return s
}

// restore restores a machine that is killed when the test ends, and lets it continue.
func restore(t *testing.T, h Harness, d driver.Driver, s driver.Spec, dir string) driver.Machine {
	t.Helper()
	if err := d.(driver.Restorer).Judge(t.Context(), s, dir); err != nil {
		t.Fatalf("Judge: %v", err)
	}
	m, err := d.(driver.Restorer).Restore(t.Context(), s, dir)
	if err != nil {
		t.Fatalf("Restore: %v", err)
	}
	t.Cleanup(func() { end(t, m) })
	if greet(t, m, still) == nil {
		t.Error("a restored machine answers before Resume")
	}
	found, err := h.New(t).Recover(t.Context(), s.ID, s.Dir, nil)
	if err != nil || found.PID() != m.PID() {
		t.Fatalf("a restored machine is not found: %v", err)
	}
	found.Release()
	if err := m.(driver.Pauser).Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func testSaved(t *testing.T, h Harness) {
	d, s, m, ack := saver(t, h)
	if d == nil {
		return
	}
	save(t, m) // a daemon that was killed right after a save saves again
	dir := save(t, m)
	memory := digest(t, filepath.Join(dir, driver.SavedMemory))
	a, b := child(t, h, idB, s), child(t, h, idC, s)
	if err := m.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := answers(t, h, m.(driver.Machine)); now.BootID != ack.BootID {
		t.Error("another guest answers after a save that is not used")
	}
	first, second := restore(t, h, d, a, dir), restore(t, h, d, b, dir)
	for _, m := range []driver.Machine{first, second} {
		if now := answers(t, h, m); now.BootID != ack.BootID {
			t.Errorf("boot id %q, saved was %q: not the same guest", now.BootID, ack.BootID)
		}
	}
	if err := first.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers(t, h, second)
	again := save(t, second.(driver.Saver))
	if err := second.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := answers(t, h, restore(t, h, d, b, again)); now.BootID != ack.BootID {
		t.Error("another guest answers after it was saved twice")
	}
	if now := digest(t, filepath.Join(dir, driver.SavedMemory)); now != memory {
		t.Error("the saved memory was changed by machines that were restored from it")
	}
}

// saveAndRestore is a round trip without a look at the guest.
func saveAndRestore(t *testing.T, h Harness, d driver.Driver, s driver.Spec, m driver.Saver) {
	t.Helper()
	dir := t.TempDir()
	if err := m.Save(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	restored, err := d.(driver.Restorer).Restore(t.Context(), child(t, h, idB, s), dir)
	if err != nil {
		t.Fatal(err)
	}
	end(t, restored)
}

func digest(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func testFailedSave(t *testing.T, h Harness) {
	d, s, m, ack := saver(t, h)
	if d == nil {
		return
	}
	runs := func(after string) {
		t.Helper()
		if now := answers(t, h, m.(driver.Machine)); now.BootID != ack.BootID {
			t.Errorf("another guest answers after %s", after)
		}
	}
	if err := m.Save(t.Context(), filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("saved into a directory that does not exist")
	}
	runs("a save into no directory")
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, driver.SavedMemory), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(t.Context(), taken); err == nil {
		t.Error("saved over another file")
	}
	runs("a save into a directory that is not empty")
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond} {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := m.Save(ctx, dir)
		cancel()
		if err == nil { // it was faster
			if err := m.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Logf("cancelled after %s: %v", after, err)
		if api.KindOf(err) != api.KindCanceled {
			t.Errorf("cancelled after %s: %v", after, err)
		}
		runs("a save that was cancelled")
	}
	if err := m.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(t.Context(), taken); err == nil {
		t.Error("saved over another file")
	}
	if greet(t, m.(driver.Machine), still) == nil {
		t.Error("a paused machine runs after a save that failed")
	}
	dir := save(t, m) // a paused one
	to := child(t, h, idB, s)
	if now := answers(t, h, restore(t, h, d, to, dir)); now.BootID != ack.BootID {
		t.Error("another guest answers after a paused one was saved")
	}
}

// misfits are what is wrong with a saved machine, or with what it shall be, and what the error says.
var misfits = map[string]struct {
	spoil func(dir string, s *driver.Spec) error
	says  string
}{
	"no manifest": {func(dir string, _ *driver.Spec) error { return os.Remove(filepath.Join(dir, driver.SavedManifest)) }, "not complete"},
	"a cut manifest": {func(dir string, _ *driver.Spec) error {
		return os.Truncate(filepath.Join(dir, driver.SavedManifest), 20)
	}, "not a manifest"},
	"a cut state": {func(dir string, _ *driver.Spec) error { return os.Truncate(filepath.Join(dir, driver.SavedState), 10) }, "has 10 bytes"},
	"a cut memory": {func(dir string, s *driver.Spec) error {
		return os.Truncate(filepath.Join(dir, driver.SavedMemory), s.MemoryBytes-4096)
	}, "bytes, not"},
	"a bit of the state": {func(dir string, _ *driver.Spec) error { return flip(filepath.Join(dir, driver.SavedState)) }, "digest differs"},
	"another state, with its digest": {func(dir string, _ *driver.Spec) error {
		name := filepath.Join(dir, driver.SavedState)
		if err := os.Truncate(name, 10); err != nil {
			return err
		}
		return change(dir, func(s *driver.Saved) {
			data, _ := os.ReadFile(name)
			sum := sha256.Sum256(data)
			s.StateBytes, s.StateSHA256 = int64(len(data)), hex.EncodeToString(sum[:])
		})
	}, "refuses the saved memory"},
	"another format": {func(dir string, _ *driver.Spec) error { return change(dir, func(s *driver.Saved) { s.Format++ }) }, "format 2"},
	"another driver": {func(dir string, _ *driver.Spec) error { return change(dir, func(s *driver.Saved) { s.VMM = "other" }) }, `driver was "other"`},
	"another version": {func(dir string, _ *driver.Spec) error {
		return change(dir, func(s *driver.Saved) { s.Version = "7.2.21 (Debian 1:7.2)" })
	}, `version of the VMM was "7.2.21 (Debian 1:7.2)"`},
	"another program": {func(dir string, _ *driver.Spec) error { return change(dir, func(s *driver.Saved) { s.Binary = "00" }) }, `program was "00"`},
	"another BIOS": {func(dir string, _ *driver.Spec) error {
		return change(dir, func(s *driver.Saved) { s.FirmwareBytes++ })
	}, "firmware in bytes was"},
	"another accel": {func(dir string, _ *driver.Spec) error {
		return change(dir, func(s *driver.Saved) { s.Accel = "other" })
	}, `accelerator was "other"`},
	"another memory":   {func(_ string, s *driver.Spec) error { s.MemoryBytes *= 2; return nil }, "memory in bytes was"},
	"another vCPU":     {func(_ string, s *driver.Spec) error { s.VCPUs++; return nil }, `number of vCPUs was "1", and is "2" now`},
	"another host CPU": {func(dir string, _ *driver.Spec) error { return change(dir, func(s *driver.Saved) { s.CPU = "other" }) }, `processor was "other"`},
}

func flip(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 4
	return os.WriteFile(name, data, 0o600)
}

// change changes a manifest, its format too.
func change(dir string, how func(*driver.Saved)) error {
	name := filepath.Join(dir, driver.SavedManifest)
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var s driver.Saved
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	how(&s)
	if data, err = json.Marshal(s); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o600)
}

func testMisfits(t *testing.T, h Harness) {
	d, s, m, _ := saver(t, h)
	if d == nil {
		return
	}
	dir := save(t, m)
	for name, c := range misfits {
		t.Run(name, func(t *testing.T) {
			copied, to := t.TempDir(), child(t, h, idB, s)
			memory := filepath.Join(copied, driver.SavedMemory)
			if err := os.Link(filepath.Join(dir, driver.SavedMemory), memory); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "memory") { // it is cut
				if err := errors.Join(os.Remove(memory), sparse(memory, s.MemoryBytes)); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{driver.SavedManifest, driver.SavedState} {
				data, err := os.ReadFile(filepath.Join(dir, file))
				if err == nil {
					err = os.WriteFile(filepath.Join(copied, file), data, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := c.spoil(copied, &to); err != nil {
				t.Fatal(err)
			}
			m, err := d.(driver.Restorer).Restore(t.Context(), to, copied)
			if err == nil {
				end(t, m)
				t.Fatal("it was restored")
			}
			if api.KindOf(err) != api.KindUnsupported || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			nothingLeft(t, d, to)
		})
	}
}

func sparse(name string, length int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(length), f.Close())
}
