package roothelper

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx/fusetest"
	"banger/internal/rootapi"
)

// put makes a sparse file of that size and age among the boot files.
func (w *fixture) put(name string, size int64, age time.Duration) string {
	w.TB.Helper()
	path := filepath.Join(w.Dirs.Boot, name)
	w.check(os.WriteFile(path, nil, 0o444))
	w.check(os.Truncate(path, size))
	at := time.Now().Add(-age)
	w.check(os.Chtimes(path, at, at))
	return path
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestBootFilesAreBoundedInNumber: whatever the owner brings, root keeps a few. Those
// of jails stay, however old.
func TestBootFilesAreBoundedInNumber(t *testing.T) {
	w := newFixture(t)
	inUse := w.put(strings.Repeat("a", 64), 1, keepUnused-time.Hour)
	w.check(os.Link(inUse, filepath.Join(w.Dirs.Jails, "in-use")))
	var last string
	for i := range 3 * maxUnused {
		last = w.keep(fmt.Sprint("not a kernel ", i))
		at := time.Now().Add(time.Duration(i-1000) * time.Second) // used one after the other
		w.check(os.Chtimes(filepath.Join(w.Dirs.Boot, last), at, at))
	}
	entries, err := os.ReadDir(w.Dirs.Boot)
	w.check(err)
	if len(entries) != maxUnused+1 {
		t.Errorf("%d files are kept", len(entries))
	}
	if !there(inUse) || !there(filepath.Join(w.Dirs.Boot, last)) {
		t.Error("the newest, or that of a jail, was removed")
	}
	if there(filepath.Join(w.Dirs.Boot, digestOf("not a kernel 0"))) {
		t.Error("the oldest was not removed")
	}
}

// TestBootFilesAreBoundedInBytes: the oldest go first, and no more than have to.
func TestBootFilesAreBoundedInBytes(t *testing.T) {
	w := newFixture(t)
	var paths []string
	for i := range 4 {
		paths = append(paths, w.put(strings.Repeat(fmt.Sprint(i), 64), maxBootFile, time.Duration(10-i)*time.Hour))
	}
	w.keep("a small one")
	for i, path := range paths {
		if there(path) != (i > 0) {
			t.Errorf("file %d: there is %v", i, there(path))
		}
	}
}

// TestBootFilesOfJailsAreBounded: what VMs boot from cannot be removed, so no more is
// taken.
func TestBootFilesOfJailsAreBounded(t *testing.T) {
	w := newFixture(t)
	for i := range maxBootBytes / maxBootFile {
		path := w.put(fmt.Sprintf("%064x", i), maxBootFile, time.Hour)
		w.check(os.Link(path, filepath.Join(w.Dirs.Jails, fmt.Sprint(i))))
	}
	before, err := os.ReadDir(w.Dirs.Boot)
	w.check(err)
	large := w.file("x")
	w.check(os.Truncate(large.Name(), 5<<20))
	refused := w.refuses(api.KindNoSpace, rootapi.BootPutCall{Digest: digestOf("x")}, large)
	if !strings.Contains(refused.Error(), "would take 16389 MiB with this one; the limit is 16384 MiB") {
		t.Error(refused)
	}
	after, err := os.ReadDir(w.Dirs.Boot)
	w.check(err)
	if len(after) != len(before)-1 { // that of newFixture, which no jail links
		t.Errorf("%d files became %d", len(before), len(after))
	}
}

// TestBootFilesAtTheBounds: a file stays if it is within a bound, to the byte and to the
// second.
func TestBootFilesAtTheBounds(t *testing.T) {
	name, now := strings.Repeat("a", 64), time.Unix(2000000000, 0)
	for what, c := range map[string]struct {
		name         string
		age          time.Duration
		linked, size int64 // bytes of a jail's file, and of this one
		next         int64 // bytes of the file that is to be stored
		stays        bool
	}{
		"used at the limit":       {name: name, age: keepUnused, stays: true},
		"used before the limit":   {name: name, age: keepUnused + time.Second},
		"staged at the limit":     {name: stagedPrefix + "1", age: time.Hour, stays: true},
		"staged before the limit": {name: stagedPrefix + "1", age: time.Hour + time.Second},
		"as much as is unused":    {name: name, size: maxUnusedBytes - 1, next: 1, stays: true},
		"a byte more":             {name: name, size: maxUnusedBytes - 1, next: 2},
		"as much as there may be": {name: name, linked: maxBootBytes - 2, size: 1, next: 1, stays: true},
		"a byte more in all":      {name: name, linked: maxBootBytes - 2, size: 1, next: 2},
		"a large one in all":      {name: name, linked: maxBootBytes - 2, size: maxBootFile, next: 2},
	} {
		t.Run(what, func(t *testing.T) {
			w := newFixture(t)
			w.check(os.Remove(filepath.Join(w.Dirs.Boot, w.sum)))
			w.check(os.Link(w.put(strings.Repeat("b", 64), c.linked, 0), filepath.Join(w.Dirs.Jails, "in-use")))
			path, used := w.put(c.name, c.size, 0), now.Add(-c.age)
			w.check(os.Chtimes(path, used, used))
			w.check(w.bootFiles().makeRoom(now, c.next))
			if there(path) != c.stays {
				t.Errorf("there is %t", there(path))
			}
		})
	}
}

// TestBootFilesBehindAStagedOne: the file that is being written is skipped, although it is
// the oldest one.
func TestBootFilesBehindAStagedOne(t *testing.T) {
	w := newFixture(t)
	staged := w.put(stagedPrefix+"1", 1, 30*time.Minute)
	next := w.put(strings.Repeat("a", 64), 2<<30, 20*time.Minute)
	last := w.put(strings.Repeat("b", 64), maxUnusedBytes-(1<<30), 10*time.Minute)
	w.keep("x")
	if !there(staged) || there(next) || !there(last) {
		t.Errorf("there are: the staged one %t, the next one %t, the last one %t", there(staged), there(next), there(last))
	}
}

// TestBootFilesThatAreGone: a file that was removed after the directory was read does not
// hide those behind it. A path that is too long stands for it.
func TestBootFilesThatAreGone(t *testing.T) {
	w := newFixture(t)
	b := bootStore{dir: w.dir()}
	for room := unix.PathMax - len("/b\x00") - len(b.dir); room > 1; room = unix.PathMax - len("/b\x00") - len(b.dir) {
		b.dir = filepath.Join(b.dir, strings.Repeat("d", min(room-1, 200)))
	}
	w.check(os.MkdirAll(b.dir, 0o700))
	dir, err := os.Open(b.dir)
	w.check(err)
	defer dir.Close()
	for _, name := range []string{"aa", "b"} {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_CREAT|unix.O_WRONLY, 0o600)
		w.check(err)
		unix.Close(fd)
	}
	files, err := b.list()
	if err != nil || len(files) != 1 || filepath.Base(files[0].path) != "b" {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// TestBootFilesThatComeAtOnceAreCounted: the one that is still being copied too.
func TestBootFilesThatComeAtOnceAreCounted(t *testing.T) {
	w := newFixture(t)
	old := w.put(strings.Repeat("a", 64), 3<<30, time.Hour)
	w.put(stagedPrefix+"1", maxBootFile, 0)
	w.keep("x")
	if there(old) || !there(filepath.Join(w.Dirs.Boot, stagedPrefix+"1")) {
		t.Error("the staged file is not counted, or was removed")
	}
}

// TestBootFilesLeaveSpace: on a file system with almost no room nothing is begun.
func TestBootFilesLeaveSpace(t *testing.T) {
	w := newFixture(t)
	w.Dirs.Boot = w.dir()
	if err := unix.Mount("none", w.Dirs.Boot, "tmpfs", 0, "size=65m"); err != nil {
		t.Skipf("NOT RUN: a full file system: no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { w.check(unix.Unmount(w.Dirs.Boot, unix.MNT_DETACH)) })
	w.keep("a small one fits")
	large := w.file(strings.Repeat("x", 2<<20))
	w.refuses(api.KindNoSpace, rootapi.BootPutCall{Digest: digestOf(strings.Repeat("x", 2<<20))}, large)
	if entries, err := os.ReadDir(w.Dirs.Boot); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestBootFilesInUserSpaceAreRefused(t *testing.T) {
	w := newFixture(t)
	w.refuses(api.KindInvalid, rootapi.BootPutCall{Digest: digestOf("")}, fusetest.File(t))
	if _, err := bootSize(fusetest.File(t)); err == nil || !strings.Contains(err.Error(), "in user space") {
		t.Error(err)
	}
}

// TestBootBoundsAreDocumented compares docs/privileges.md with the numbers here.
func TestBootBoundsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/privileges.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(data), "\n| `boot-put` |")
	row, _, _ = strings.Cut(row, "\n")
	for _, want := range []string{
		fmt.Sprintf("at most %d GiB", maxBootFile>>30), fmt.Sprintf("%d MiB stay free", bootMargin>>20),
		fmt.Sprintf("with those of jails %d GiB in all", maxBootBytes>>30),
		fmt.Sprintf("it keeps %d and %d GiB", maxUnused, maxUnusedBytes>>30), fmt.Sprintf("more than %.0f days", keepUnused.Hours()/24),
	} {
		if !strings.Contains(row, want) {
			t.Errorf("its row of boot-put does not say %q", want)
		}
	}
}
