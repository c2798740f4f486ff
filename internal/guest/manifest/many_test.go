package manifest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

func TestLimitsOfAList(t *testing.T) {
	dir := inMemory(t)
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%0200d", i)), nil, 0o600))
	}
	for name, c := range map[string]struct {
		o    Options
		want string
		sent bool // before it fails
	}{
		"entries":         {Options{Entries: 2999}, "it has more than 2999 files and directories", false},
		"few entries":     {Options{Entries: 1}, "it has more than 1 files and directories", false},
		"bytes of names":  {Options{Bytes: 500_000}, "the list of what is in it takes more than 500000 bytes", false},
		"bytes of a list": {Options{Bytes: 620_000}, "the list of what is in it takes more than 620000 bytes", true},
	} {
		var b bytes.Buffer
		err := List(t.Context(), &b, dir, c.o)
		if api.KindOf(err) != api.KindInvalid || err.Error() != c.want {
			t.Errorf("%s: List: %v\nwant %s", name, err, c.want)
		}
		if int64(b.Len()) > c.o.WithDefaults().Bytes || b.Len() > 0 != c.sent {
			t.Errorf("%s: %d bytes were sent", name, b.Len())
		}
		b.Reset()
		must(t, List(t.Context(), &b, dir, Options{})) // an agent that does not obey
		if _, err := entries(b.Bytes(), c.o); err == nil || err.Error() != c.want {
			t.Errorf("%s: Read: %v\nwant %s", name, err, c.want)
		}
	}
	var b bytes.Buffer
	must(t, List(t.Context(), &b, dir, Options{Entries: 3000}))
	exact := Options{Entries: 3000, Bytes: int64(b.Len())}
	if all := listed(t, dir, exact); len(all) != 3000 {
		t.Errorf("%d entries", len(all))
	}
	exact.Bytes--
	if _, err := entries(b.Bytes(), exact); err == nil {
		t.Error("one byte more than the limit is read")
	}
}

// TestDeepTrees: however deep a tree is, few files are open at once, and none in the end.
func TestDeepTrees(t *testing.T) {
	dir := inMemory(t)
	depth := makeDeep(t, dir, 1)
	before := openFiles(t)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	few := old
	few.Cur = uint64(before + 20)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	all := listed(t, dir, Options{})
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	last := all[len(all)-1]
	if len(all) < depth/3 || len(last.Path) != maxPath || last.Unread != "file name too long" {
		t.Errorf("%d entries; the last path has %d bytes, unread: %q", len(all), len(last.Path), last.Unread)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, before it were %d", after, before)
	}
}

// openFiles is how many files this process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

// makeDeep makes directories in one another until no path leads to the last, and returns how many
// they are.
func makeDeep(t *testing.T, dir string, length int) (depth int) {
	t.Helper()
	name := strings.Repeat("d", length)
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for ; depth*(length+1) < 2*maxPath; depth++ {
		must(t, unix.Mkdirat(at, name, 0o700))
		next, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	return depth
}

func TestListsThatFail(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	full := errors.New("full")
	for name, c := range map[string]struct {
		err, want error
	}{
		"missing":   {List(t.Context(), &bytes.Buffer{}, filepath.Join(dir, "none"), Options{}), fs.ErrNotExist},
		"a file":    {List(t.Context(), &bytes.Buffer{}, file, Options{}), unix.ENOTDIR},
		"cancelled": {List(canceled, &bytes.Buffer{}, dir, Options{}), context.Canceled},
		"unsent":    {List(t.Context(), broken{full}, dir, Options{}), full},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.err, c.want)
		}
	}
}

// TestManyEntries: 100,000 entries take bounded processor time, at both ends together. An ordinary
// machine takes 0.2 s; what grows with the square of their number would take minutes.
func TestManyEntries(t *testing.T) {
	dir := manyFiles(t, 100, 1000)
	before := cpu(t)
	all := listed(t, dir, Options{})
	took := cpu(t) - before
	if len(all) != 100_100 || !slices.IsSortedFunc(all[:1000], func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) }) {
		t.Errorf("%d entries", len(all))
	}
	if took > 10*time.Second {
		t.Errorf("100,000 entries took %v of processor time", took)
	}
	t.Logf("%v", took)
}

// inMemory is a temporary directory for many files, which takes a disk minutes to make.
func inMemory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "banger-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func manyFiles(t testing.TB, dirs, files int) string {
	dir := inMemory(t)
	for d := range dirs {
		in := filepath.Join(dir, fmt.Sprintf("dir%03d", d))
		must(t, os.Mkdir(in, 0o755))
		for f := range files {
			fd, err := unix.Open(filepath.Join(in, fmt.Sprintf("file%04d.go", f)), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
			must(t, err)
			unix.Close(fd)
		}
	}
	return dir
}

func cpu(t testing.TB) time.Duration {
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkList lists 10,000 files, and reads the list.
func BenchmarkList(b *testing.B) {
	dir := manyFiles(b, 100, 100)
	began := cpu(b)
	size := 0
	for b.Loop() {
		var list bytes.Buffer
		must(b, List(b.Context(), &list, dir, Options{}))
		size = list.Len()
		if all, err := entries(list.Bytes(), Options{}); err != nil || len(all) != 10_100 {
			b.Fatal(len(all), err)
		}
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N)/1e6, "cpu-ms/op")
	b.ReportMetric(float64(size), "bytes")
}
