package rootfs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"banger/internal/image/oci"
	"banger/internal/image/tarball"
)

// FuzzUnpackTar unpacks one archive over another, as layers and as archives of a
// root file system, into a directory of which nothing but the names keeps it from
// what is beside it. It ends, and what is beside it is neither changed nor opened.
func FuzzUnpackTar(f *testing.F) {
	for _, h := range corpus("../beside/outside") {
		below, data := seed(f, h.Image(f))
		if len(below)+len(data) < 64<<10 {
			f.Add(below, data, true)
			f.Add(below, data, false)
		}
	}
	base := archive(f, dirEntry("d/"), fileEntry("d/a", "1"), symlinkEntry("up", "../beside"), symlinkEntry("l", "d"))
	f.Add(base, archive(f, fileEntry("d/.wh.a", ""), fileEntry("d/.wh..wh..opq", ""), linkEntry("h", "up/victim")), true)
	f.Add(base, archive(f, fileEntry("up/victim", "x"), dirEntry("l/"), fileEntry("l/.wh..wh..opq", "")), true)
	f.Add(base, gzipped(f, archive(f, symlinkEntry("d", "/"), fileEntry("d/x", "x"))), true)
	f.Add(base, archive(f, dirEntry("up/"), fileEntry("up/sub/.wh.deep", ""), fileEntry(".wh.up", "")), true)

	s := newSentinel(f)
	f.Fuzz(func(t *testing.T, below, data []byte, layered bool) {
		root, err := os.MkdirTemp(s.dir, rootPrefix)
		if err != nil {
			t.Fatal(err)
		}
		defer s.remove(t, root)
		tree, err := newHostTree(root)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			spec := Spec{Layered: layered, Limits: tight(200, mib, 200), DiffIDs: []string{"", ""}}
			_, _ = spec.unpack(framed(below, data), tree, silent)
		}()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("it does not end")
		}
		s.check(t)
	})
}

// seed is the last two layers of an image, as archives before compression where
// they are any: what is compressed mutates into little else than damage.
func seed(f *testing.F, img oci.Image) (below, data []byte) {
	for _, l := range img.Layers {
		r, err := l.Open(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		blob, err := io.ReadAll(r)
		if err != nil {
			f.Fatal(err)
		}
		if plain, err := tarball.Decompress(bytes.NewReader(blob)); err == nil {
			if all, err := io.ReadAll(plain); err == nil && len(all) < 64<<10 {
				blob = all
			}
		}
		below, data = data, blob
	}
	return below, data
}

// rootPrefix begins the names of the directories that are unpacked to.
const rootPrefix = "root-"

// sentinel is a tree that nothing may touch, watched by the kernel.
type sentinel struct {
	dir   string // of the roots and beside
	watch int
	state string
}

func newSentinel(f *testing.F) *sentinel {
	s := &sentinel{dir: f.TempDir()}
	beside := filepath.Join(s.dir, "beside")
	if err := os.MkdirAll(filepath.Join(beside, "sub"), 0o755); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"victim", "sub/deep"} {
		if err := os.WriteFile(filepath.Join(beside, name), []byte("mine"), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	s.state = s.list(f)
	var err error
	if s.watch, err = unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { unix.Close(s.watch) })
	for _, dir := range []string{s.dir, beside, filepath.Join(beside, "sub")} {
		if _, err := unix.InotifyAddWatch(s.watch, dir, unix.IN_ALL_EVENTS); err != nil {
			f.Fatal(err)
		}
	}
	return s
}

// list is what is in the tree, as far as looking at it changes nothing.
func (s *sentinel) list(t testing.TB) string {
	var b strings.Builder
	for _, name := range []string{"beside", "beside/sub", "beside/victim", "beside/sub/deep"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(s.dir, name), &st); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		st.Atim = unix.Timespec{}
		b.Write(unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st)))
	}
	return b.String()
}

// check looks at what has happened since the last time that somebody looked.
func (s *sentinel) check(t *testing.T) {
	if s.list(t) != s.state {
		t.Error("what is beside the root has changed")
	}
	for _, e := range s.events(t) {
		t.Errorf("somebody was at what is beside the root: %s", e)
	}
}

// remove removes a root, which is nobody's trespass.
func (s *sentinel) remove(t *testing.T, root string) {
	if err := os.RemoveAll(root); err != nil {
		t.Error(err)
	}
	s.events(t)
}

// events are those that are not of the root itself.
func (s *sentinel) events(t *testing.T) (all []string) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := unix.Read(s.watch, buffer)
		if err == unix.EAGAIN {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		for rest := buffer[:n]; len(rest) > 0; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&rest[0]))
			name := string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+e.Len], "\x00"))
			if !strings.HasPrefix(name, rootPrefix) {
				all = append(all, fmt.Sprintf("%q, events %#x", name, e.Mask))
			}
			rest = rest[unix.SizeofInotifyEvent+e.Len:]
		}
	}
}
