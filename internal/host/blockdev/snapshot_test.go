package blockdev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

const baseSize = 8 << 20

func attach(t *testing.T, id string, base, cow *os.File) Device {
	t.Helper()
	d, err := AttachSnapshot(t.Context(), id, base, cow)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func detachOf(t *testing.T, id string) {
	t.Helper()
	if err := Detach(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotKeepsWhatIsWritten(t *testing.T) {
	needSnapshots(t)
	id, base, cow := forVM(t, 1), fileOf(t, baseSize, "of the base"), fileOf(t, CowBytes(baseSize), "")
	before, err := os.ReadFile(base.Name())
	if err != nil {
		t.Fatal(err)
	}
	d := attach(t, id, base, cow)
	if again := attach(t, id, base, cow); again != d {
		t.Errorf("attached again: %+v, not %+v", again, d)
	}
	dev := openDevice(t, d, os.O_RDWR)
	if got := begins(t, dev, 11); got != "of the base" {
		t.Errorf("the device has %q", got)
	}
	if size, err := dev.Seek(0, io.SeekEnd); err != nil || size != baseSize {
		t.Errorf("the device has %d bytes, %v", size, err)
	}
	readWrite(t, dev, "of the VM!!")
	dev.Close()
	usage(t, id, func(u Usage) bool {
		return u.Used > 2*chunkSectors && u.Total == uint64(CowBytes(baseSize))/sectorSize && u.Metadata == 2*chunkSectors
	})
	for range 2 {
		detachOf(t, id)
	}
	noLoops(t, base, cow)
	if got := objectsOf(t, id); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	dev = openDevice(t, attach(t, id, base, cow), os.O_RDONLY)
	if got := begins(t, dev, 11); got != "of the VM!!" {
		t.Errorf("attached anew, the device has %q", got)
	}
	dev.Close()
	if after, err := os.ReadFile(base.Name()); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the base changed, %v", err)
	}
}

func usage(t *testing.T, id string, good func(Usage) bool) {
	t.Helper()
	u, err := Status(id)
	if err != nil || !good(u) {
		t.Errorf("%+v, %v", u, err)
	}
	t.Logf("usage: %+v", u)
}

func TestSnapshotObjects(t *testing.T) {
	needSnapshots(t)
	id, base, cow := forVM(t, 1), fileOf(t, baseSize, ""), fileOf(t, CowBytes(baseSize), "")
	if _, err := Status(id); api.KindOf(err) != api.KindNotFound {
		t.Errorf("of no snapshot: %v", err)
	}
	attach(t, id, base, cow)
	got := objectsOf(t, id)
	if len(got) != 2 || got[0].Kind != KindMapped || got[0].Backing != cow.Name() || got[0].Used ||
		got[1].Kind != KindLoop || got[1].Backing != cow.Name() || !got[1].Used {
		t.Errorf("%+v", got)
	}
	bases := slices.DeleteFunc(objectsOf(t, ""), func(o Object) bool { return o.Backing != base.Name() })
	if len(bases) != 1 || bases[0].Kind != KindLoop || !bases[0].Used {
		t.Errorf("%+v", bases)
	}
}

func TestSnapshotConflicts(t *testing.T) {
	needSnapshots(t)
	id, two := forVM(t, 1), forVM(t, 2)
	base, cow := fileOf(t, baseSize, ""), fileOf(t, CowBytes(baseSize), "")
	d := attach(t, id, base, cow)
	for name, c := range map[string]struct {
		id        string
		base, cow *os.File
	}{
		"another base":                  {id, fileOf(t, baseSize, ""), cow},
		"another cow":                   {id, base, fileOf(t, CowBytes(baseSize), "")},
		"the cow of another VM":         {two, base, cow},
		"another VM's cow as base":      {two, cow, fileOf(t, CowBytes(baseSize), "")},
		"a base as cow":                 {two, fileOf(t, baseSize, ""), base},
		"the same file as base and cow": {two, cow, cow},
	} {
		if got, err := AttachSnapshot(t.Context(), c.id, c.base, c.cow); api.KindOf(err) != api.KindConflict {
			t.Errorf("%s: %+v, %v", name, got, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	if _, err := AttachPlain(t.Context(), id, fileOf(t, 1<<20, "")); api.KindOf(err) != api.KindConflict {
		t.Errorf("a plain disk beside a snapshot: %v", err)
	}
	if got := attach(t, id, base, cow); got != d {
		t.Errorf("the device is %+v, was %+v", got, d)
	}
	nothingOf(t, two)
}

func TestSnapshotOverGarbage(t *testing.T) {
	needSnapshots(t)
	id, base, cow := forVM(t, 1), fileOf(t, baseSize, ""), fileOf(t, CowBytes(baseSize), "no header")
	d, err := AttachSnapshot(t.Context(), id, base, cow)
	if api.KindOf(err) != api.KindInvalid {
		t.Errorf("%+v, %v", d, err)
	}
	t.Log(err)
	nothingOf(t, id)
	noLoops(t, base, cow)
}

func TestManyAtOnceShareTheBase(t *testing.T) {
	needSnapshots(t)
	base := fileOf(t, baseSize, "of the base")
	var all sync.WaitGroup
	devices := make([]Device, 5)
	ids := make([]string, len(devices))
	for i := range devices {
		id, cow := forVM(t, i), fileOf(t, CowBytes(baseSize), "")
		ids[i] = id
		all.Go(func() {
			var err error
			if devices[i], err = AttachSnapshot(t.Context(), id, base, cow); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := loopsOver(t, base); n != 1 {
		t.Errorf("%d loop devices over one base", n)
	}
	for i, d := range devices {
		dev := openDevice(t, d, os.O_RDWR)
		if got := begins(t, dev, 11); got != "of the base" {
			t.Errorf("%s: %q", d.Name, got)
		}
		readWrite(t, dev, fmt.Sprintf("written by %d", i))
		dev.Close()
	}
	for i, d := range devices {
		dev := openDevice(t, d, os.O_RDONLY)
		if got := begins(t, dev, 12); got != fmt.Sprintf("written by %d", i) {
			t.Errorf("%s: %q", d.Name, got)
		}
		dev.Close()
	}
	for _, id := range ids {
		all.Go(func() {
			if err := Detach(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	noLoops(t, base)
}

// TestProcessesShareTheBase: and attaching the same disk twice at once gives
// the same device twice.
func TestProcessesShareTheBase(t *testing.T) {
	needSnapshots(t)
	base := fileOf(t, baseSize, "")
	lines := make([]string, 6)
	var all sync.WaitGroup
	for i := range len(lines) / 2 {
		id, cow := forVM(t, i), fileOf(t, CowBytes(baseSize), "")
		for twice := range 2 {
			all.Go(func() { lines[2*i+twice] = child(t, "attach", id, base.Name(), cow.Name()).line })
		}
	}
	all.Wait()
	seen := map[string]bool{}
	for i := 0; i < len(lines); i += 2 {
		if lines[i] != lines[i+1] || seen[lines[i]] {
			t.Errorf("%q", lines)
		}
		seen[lines[i]] = true
	}
	if n := loopsOver(t, base); n != 1 {
		t.Errorf("%d loop devices over one base", n)
	}
}

func TestSnapshotWaitsForAHolder(t *testing.T) {
	needSnapshots(t)
	id, base, cow := forVM(t, 1), fileOf(t, baseSize, ""), fileOf(t, CowBytes(baseSize), "")
	waitsForHolder(t, id, attach(t, id, base, cow))
	noLoops(t, base, cow)
}

// TestKilledHalfWay: no loop device is left by a maker that was killed before
// the table was loaded, and its device is made anew, or removed.
func TestKilledHalfWay(t *testing.T) {
	needSnapshots(t)
	for _, step := range []string{"created", "loaded"} {
		id, base, cow := forVM(t, 1), fileOf(t, baseSize, "of the base"), fileOf(t, CowBytes(baseSize), "")
		kill := func() {
			child(t, step, id, base.Name(), cow.Name()).kill()
			if step == "created" {
				noLoops(t, base, cow)
			}
			if got := objectsOf(t, id); len(got) == 0 || got[0].Kind != KindMapped || got[0].Used {
				t.Errorf("%s: %+v", step, got)
			}
			if _, err := Status(id); api.KindOf(err) != api.KindNotFound {
				t.Errorf("%s: %v", step, err)
			}
		}
		kill()
		dev := openDevice(t, attach(t, id, base, cow), os.O_RDWR)
		if got := begins(t, dev, 11); got != "of the base" {
			t.Errorf("%s: %q", step, got)
		}
		readWrite(t, dev, "of the VM!!")
		dev.Close()
		detachOf(t, id)
		kill()
		detachOf(t, id)
		noLoops(t, base, cow)
		if got := objectsOf(t, id); len(got) != 0 {
			t.Errorf("%s: %+v", step, got)
		}
	}
}

func TestSuspendedSnapshotIsResumed(t *testing.T) {
	needSnapshots(t)
	id, base, cow := forVM(t, 1), fileOf(t, baseSize, "of the base"), fileOf(t, CowBytes(baseSize), "")
	d := attach(t, id, base, cow)
	m, err := openMapper()
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if _, err := m.call(unix.DM_DEV_SUSPEND, request{name: vmid.Device(id), flags: unix.DM_SUSPEND_FLAG}); err != nil {
		t.Fatal(err)
	}
	if again := attach(t, id, base, cow); again != d {
		t.Errorf("%+v, %+v", again, d)
	}
	dev := openDevice(t, d, os.O_RDWR)
	readWrite(t, dev, "of the VM!!")
	dev.Close()
}

// fill writes to the device until that fails, and returns how many bytes were
// written and are safe.
func fill(t *testing.T, d Device, content []byte) int64 {
	t.Helper()
	dev := openDevice(t, d, os.O_RDWR|unix.O_DSYNC)
	defer dev.Close()
	for at := int64(0); at < baseSize; at += int64(len(content)) {
		if _, err := dev.WriteAt(content, at); err != nil {
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
				t.Error(err)
			}
			return at
		}
	}
	t.Error("it did not fill")
	return 0
}

func hasContent(t *testing.T, d Device, content []byte, upTo int64) {
	t.Helper()
	dev := openDevice(t, d, os.O_RDONLY)
	defer dev.Close()
	got := make([]byte, len(content))
	for at := int64(0); at < upTo; at += int64(len(content)) {
		if _, err := dev.ReadAt(got, at); err != nil || !bytes.Equal(got, content) {
			t.Errorf("at %d of %d: other content, %v", at, upTo, err)
			return
		}
	}
}

// TestCowThatFills: nothing that was written is lost, and a larger file goes on.
func TestCowThatFills(t *testing.T) {
	needSnapshots(t)
	id, base, cow := forVM(t, 1), fileOf(t, baseSize, ""), fileOf(t, 64*chunkSize, "")
	content := bytes.Repeat([]byte("content!"), 8*chunkSize/8)
	d := attach(t, id, base, cow)
	written := fill(t, d, content)
	if written == 0 {
		t.Error("nothing could be written")
	}
	usage(t, id, func(u Usage) bool { return u == Usage{Overflow: true} })
	hasContent(t, d, content, written)
	detachOf(t, id)
	if err := cow.Truncate(CowBytes(baseSize)); err != nil {
		t.Fatal(err)
	}
	d = attach(t, id, base, cow)
	usage(t, id, func(u Usage) bool { return !u.Overflow && u.Used > 0 })
	hasContent(t, d, content, written)
	dev := openDevice(t, d, os.O_RDWR)
	if _, err := dev.WriteAt(content, written); err != nil {
		t.Error(err)
	}
	if err := dev.Sync(); err != nil {
		t.Error(err)
	}
	dev.Close()
	hasContent(t, d, content, written+int64(len(content)))
}

// TestFullHost: a copy-on-write file on a full file system makes the snapshot
// invalid; with room, it goes on with all that was written.
func TestFullHost(t *testing.T) {
	needSnapshots(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("NOT RUN: a full file system: no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	id := forVM(t, 1)
	cow, err := os.Create(filepath.Join(dir, "cow"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cow.Close() })
	if err := cow.Truncate(CowBytes(baseSize)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Detach(context.Background(), id) }) // before the file is closed
	base := fileOf(t, baseSize, "")
	content := bytes.Repeat([]byte("content!"), 8*chunkSize/8)
	d := attach(t, id, base, cow)
	written := fill(t, d, content)
	if written == 0 {
		t.Error("nothing could be written")
	}
	usage(t, id, func(u Usage) bool { return u == Usage{Invalid: true} })
	detachOf(t, id)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	d = attach(t, id, base, cow)
	usage(t, id, func(u Usage) bool { return !u.Invalid && u.Used > 0 })
	hasContent(t, d, content, written)
}

func TestEndedContext(t *testing.T) {
	needSnapshots(t)
	id, base, cow := forVM(t, 1), fileOf(t, baseSize, ""), fileOf(t, CowBytes(baseSize), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := AttachSnapshot(ctx, id, base, cow)
	if api.KindOf(err) != api.KindCanceled {
		t.Errorf("%+v, %v", d, err)
	}
	noLoops(t, base, cow)
}
