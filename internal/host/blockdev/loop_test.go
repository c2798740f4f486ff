package blockdev

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

func readWrite(t *testing.T, f *os.File, content string) {
	t.Helper()
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func openDevice(t *testing.T, d Device, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(d.Path(), flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Rdev != unix.Mkdev(d.Major, d.Minor) {
		t.Errorf("%+v has the number %d, %v", d, st.Rdev, err)
	}
	return f
}

// begins returns the first n bytes of what can be read there.
func begins(t *testing.T, r io.ReaderAt, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := r.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPlain(t *testing.T) {
	needLoops(t)
	id, f := forVM(t, 1), fileOf(t, 1<<20, "before")
	d, err := AttachPlain(t.Context(), id, f)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := AttachPlain(t.Context(), id, f); err != nil || again != d {
		t.Errorf("attached again: %+v, %v", again, err)
	}
	dev := openDevice(t, d, os.O_RDWR)
	if got := begins(t, dev, 6); got != "before" {
		t.Errorf("the device has %q", got)
	}
	if size, err := unix.IoctlGetInt(int(dev.Fd()), unix.BLKSSZGET); err != nil || size != sectorSize {
		t.Errorf("blocks of %d, %v", size, err)
	}
	readWrite(t, dev, "after!")
	dev.Close()
	if got := begins(t, f, 6); got != "after!" {
		t.Errorf("the file has %q", got)
	}
	if got := objectsOf(t, id); len(got) != 1 || got[0] != (Object{Kind: KindLoop, Name: d.Name, ID: id, Backing: f.Name()}) {
		t.Errorf("%+v", got)
	}
	for range 2 { // idempotent
		if err := Detach(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if got := objectsOf(t, id); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestPlainConflicts(t *testing.T) {
	needLoops(t)
	one, two, f := forVM(t, 1), forVM(t, 2), fileOf(t, 1<<20, "")
	if _, err := AttachPlain(t.Context(), one, f); err != nil {
		t.Fatal(err)
	}
	if d, err := AttachPlain(t.Context(), one, fileOf(t, 1<<20, "")); api.KindOf(err) != api.KindConflict {
		t.Errorf("another file for the same VM: %+v, %v", d, err)
	}
	if d, err := AttachPlain(t.Context(), two, f); api.KindOf(err) != api.KindConflict {
		t.Errorf("the same file for another VM: %+v, %v", d, err)
	}
	if _, err := AttachPlain(t.Context(), two, fileOf(t, 1<<20, "")); err != nil {
		t.Error(err)
	}
	if err := Detach(t.Context(), two); err != nil {
		t.Error(err)
	}
	if got := objectsOf(t, one); len(got) != 1 {
		t.Errorf("detaching one VM's disk leaves of the other %+v", got)
	}
}

func TestDetachWaitsForAHolder(t *testing.T) {
	needLoops(t)
	id, f := forVM(t, 1), fileOf(t, 1<<20, "")
	d, err := AttachPlain(t.Context(), id, f)
	if err != nil {
		t.Fatal(err)
	}
	waitsForHolder(t, id, d)
}

// waitsForHolder holds the device in another process: Detach fails while that
// runs, and succeeds when it ends.
func waitsForHolder(t *testing.T, id string, d Device) {
	t.Helper()
	holder := child(t, "hold", d.Path())
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := Detach(short, id)
	if api.KindOf(err) != api.KindTimeout || !strings.Contains(err.Error(), "in use by a VMM") || api.AsError(err).Hint == "" {
		t.Errorf("%v (%s)", err, api.AsError(err).Hint)
	}
	t.Logf("while it is held: %v", err)
	done := make(chan error, 1)
	go func() { done <- Detach(t.Context(), id) }()
	select {
	case err := <-done:
		t.Errorf("Detach returned while the device was held: %v", err)
	case <-time.After(200 * time.Millisecond):
		holder.kill()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := objectsOf(t, id); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestAttachAfterFailedDetach: what Detach began, Attach takes back.
func TestAttachAfterFailedDetach(t *testing.T) {
	needLoops(t)
	id, f := forVM(t, 1), fileOf(t, 1<<20, "")
	d, err := AttachPlain(t.Context(), id, f)
	if err != nil {
		t.Fatal(err)
	}
	holder := child(t, "hold", d.Path())
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Detach(short, id); api.KindOf(err) != api.KindTimeout {
		t.Fatal(err)
	}
	again, err := AttachPlain(t.Context(), id, f)
	if err != nil {
		t.Fatal(err)
	}
	holder.kill()
	openDevice(t, again, os.O_RDWR).Close()
	if got := objectsOf(t, id); len(got) != 1 || got[0].Name != again.Name {
		t.Errorf("%+v, attached is %+v", got, again)
	}
}

func baseOf(t *testing.T, f *os.File) backing {
	t.Helper()
	b, err := newBacking("base", f, baseTag, unix.LO_FLAGS_READ_ONLY|unix.LO_FLAGS_AUTOCLEAR)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBasesAreShared(t *testing.T) {
	needLoops(t)
	b := baseOf(t, fileOf(t, 1<<20, "base"))
	var mu sync.Mutex
	var all sync.WaitGroup
	found := map[string]int{}
	var held []*loop
	for range 5 {
		all.Go(func() {
			l, err := acquire(t.Context(), b)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[l.device.Name]++
			held = append(held, l)
		})
	}
	all.Wait()
	if len(found) != 1 {
		t.Errorf("5 at once over one base are %v", found)
	}
	if dev := openDevice(t, held[0].device, os.O_RDONLY); begins(t, dev, 4) != "base" {
		t.Error("the device has not the base's content")
	} else {
		dev.Close()
	}
	if f, err := os.OpenFile(held[0].device.Path(), os.O_RDWR, 0); err == nil {
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			err = f.Sync()
			if err == nil {
				t.Error("a base can be written to")
			}
		}
		f.Close()
	}
	for _, l := range held {
		l.close()
	}
	noLoops(t, b.file)
}

func TestAWritableFileIsNoBase(t *testing.T) {
	needLoops(t)
	id, f := forVM(t, 1), fileOf(t, 1<<20, "")
	if _, err := AttachPlain(t.Context(), id, f); err != nil {
		t.Fatal(err)
	}
	if l, err := acquire(t.Context(), baseOf(t, f)); api.KindOf(err) != api.KindConflict {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestGrownBase(t *testing.T) {
	needLoops(t)
	f := fileOf(t, 1<<20, "")
	l, err := acquire(t.Context(), baseOf(t, f))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := f.Truncate(2 << 20); err != nil {
		t.Fatal(err)
	}
	if l, err := acquire(t.Context(), baseOf(t, f)); api.KindOf(err) != api.KindConflict {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestKilledBeforeTheMapper: loop devices end with the process that made them.
func TestKilledBeforeTheMapper(t *testing.T) {
	needLoops(t)
	id, base, cow := forVM(t, 1), fileOf(t, 1<<20, ""), fileOf(t, 2<<20, "")
	p := child(t, "loops", id, base.Name(), cow.Name())
	if b, c := loopsOver(t, base), loopsOver(t, cow); b != 1 || c != 1 {
		t.Errorf("%d and %d loop devices while it runs", b, c)
	}
	p.kill()
	noLoops(t, base, cow)
}

func TestLocks(t *testing.T) {
	needLoops(t)
	unlock, err := lockVM(t.Context(), "0123456789ab")
	if err != nil {
		t.Fatal(err)
	}
	other, err := lockVM(t.Context(), "0123456789ac")
	if err != nil {
		t.Fatal(err)
	}
	other()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := lockVM(short, "0123456789ab"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		unlock, err := lockVM(t.Context(), "0123456789ab")
		if err == nil {
			unlock()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
