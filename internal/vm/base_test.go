package vm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/disk/copy"
)

// layers is a driver whose disks need their base.
type layers struct{ copy.Driver }

func (layers) Layered() bool { return true }

// overlayWorld is a world whose disks hold only what was changed.
func overlayWorld(t *testing.T) *world {
	w := newWorld(t)
	w.disks.Drivers = []disk.Driver{layers{copy.New()}}
	return w
}

func (w *world) base() string { return filepath.Join(w.caches.dir, "base") }

func (w *world) writeBase(content string) {
	w.t.Helper()
	if err := os.WriteFile(w.base(), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func wantLost(t *testing.T, err error, why string) {
	t.Helper()
	e := api.AsError(err)
	if e == nil || !strings.Contains(e.Message, "cannot use the disk of VM dev: ") || !strings.Contains(e.Message, "is lost without that file: ") || !strings.Contains(e.Message, why) ||
		e.Hint != "restore that file from a backup, or: banger vm delete dev" {
		t.Errorf("it says %+v", e)
	}
}

// TestBaseIsNotMadeAgain: a disk that holds the changes to a file is not used with another,
// also when another VM has had the file made again. It is used again with its own.
func TestBaseIsNotMadeAgain(t *testing.T) {
	w := overlayWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	if v := w.show("dev"); !strings.HasPrefix(v.BaseDigest, "sha256:") {
		t.Errorf("its base is recorded as %q", v.BaseDigest)
	}
	if err := os.Rename(w.base(), w.base()+".lost"); err != nil {
		t.Fatal(err)
	}
	wantLost(t, w.do(w.Start(t.Context(), "dev", api.StartVM{})), "the file is missing")
	wantLost(t, w.do(w.Commit(t.Context(), "dev", api.CommitVM{Name: "made"})), "the file is missing")
	if _, err := os.Stat(w.base()); err == nil {
		t.Error("it was made again")
	}
	w.writeBase("made at another time")
	w.must(w.Create(t.Context(), api.CreateVM{Name: "new", Start: true}))
	wantLost(t, w.do(w.Start(t.Context(), "dev", api.StartVM{})), "was made again")
	wantLost(t, w.do(w.Commit(t.Context(), "dev", api.CommitVM{Name: "made"})), "was made again")
	if err := os.Rename(w.base()+".lost", w.base()); err != nil {
		t.Fatal(err)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	w.health("dev")
}

// TestBaseOfAnOlderVersion: a disk without a recorded base takes the one that is there, but
// none that was missing before.
func TestBaseOfAnOlderVersion(t *testing.T) {
	w := overlayWorld(t)
	forget := func() {
		e := w.table.ByID(w.show("dev").ID)
		if err := e.Update(t.Context(), func(v *api.VM) { v.BaseDigest = "" }); err != nil {
			t.Fatal(err)
		}
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	want := w.show("dev").BaseDigest
	forget()
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	if got := w.show("dev").BaseDigest; got != want {
		t.Errorf("it took %q, not %q", got, want)
	}
	w.must(w.Kill(t.Context(), "dev"))
	forget()
	if err := os.Remove(w.base()); err != nil {
		t.Fatal(err)
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "new"})) // makes it again
	wantLost(t, w.do(w.Start(t.Context(), "dev", api.StartVM{})), "was made again")
}

// TestDisksThatHoldAllNeedNoBase: a copy is used when its image's file is gone.
func TestDisksThatHoldAllNeedNoBase(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev"}))
	if err := os.Remove(w.base()); err != nil {
		t.Fatal(err)
	}
	w.must(w.Start(t.Context(), "dev", api.StartVM{}))
	if v := w.show("dev"); v.BaseDigest != "" {
		t.Errorf("its base is recorded as %q", v.BaseDigest)
	}
}

// lockedKernels delete as the cache does: they hold it from the look at who uses a kernel
// until that is deleted.
type lockedKernels struct {
	fakeKernels
	lock    *sync.Mutex
	asked   chan struct{} // closed once a deletion has asked
	goOn    chan struct{} // a deletion waits for it between the look and the removal
	deleted *bool
}

func (l lockedKernels) Get(ref string) (api.Kernel, error) {
	if ref == digest {
		l.lock.Lock()
		defer l.lock.Unlock()
		if *l.deleted {
			return api.Kernel{}, api.Errorf(api.KindNotFound, "no kernel %q", ref)
		}
	}
	return l.fakeKernels.Get(ref)
}

func (l lockedKernels) delete(inUse func(string) []string) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	*l.deleted = len(inUse(digest)) == 0
	close(l.asked)
	<-l.goOn
	return *l.deleted
}

// TestDeletionOfAKernelAndCreation: a deletion that did not see the VM is over before the
// VM relies on the kernel, whether it was named or is the default.
func TestDeletionOfAKernelAndCreation(t *testing.T) {
	for _, kernel := range []string{"custom", ""} {
		w := newWorld(t)
		kernels := lockedKernels{fakeKernels{w.caches}, &sync.Mutex{}, make(chan struct{}), make(chan struct{}), new(bool)}
		w.setKernels(kernels)
		deleted := make(chan bool)
		go func() { deleted <- kernels.delete(w.InUse) }()
		<-kernels.asked
		o, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Kernel: kernel})
		if err != nil {
			t.Fatal(err)
		}
		untilUsed(t, w)
		close(kernels.goOn)
		if !<-deleted {
			t.Error("the kernel was in use before there was a VM")
		}
		if err := o.Wait(t.Context()); api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), "was deleted while VM dev was being created") {
			t.Errorf("a VM was made with a kernel that is gone: %v", err)
		}
		w.nothingLeft()
	}
}

// untilUsed waits until a VM is recorded as a user of the kernel.
func untilUsed(t *testing.T, w *world) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(w.InUse(digest)) == 0 {
		if ctx.Err() != nil {
			t.Fatal("nobody uses the kernel")
		}
	}
}
