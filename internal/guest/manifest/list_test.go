package manifest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx/fusetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listed is what Read reads of what List writes about dir.
func listed(t testing.TB, dir string, o Options) []Entry {
	t.Helper()
	var b bytes.Buffer
	must(t, List(t.Context(), &b, dir, o))
	all, err := entries(b.Bytes(), o)
	must(t, err)
	return all
}

func entries(list []byte, o Options) (all []Entry, err error) {
	err = Read(bytes.NewReader(list), o, func(e Entry) error {
		all = append(all, e)
		return nil
	})
	return all, err
}

func paths(all []Entry) (list []string) {
	for _, e := range all {
		list = append(list, e.Path)
	}
	return list
}

// randomName is any name that Linux allows, and often one that is awkward.
func randomName(r *rand.Rand) string {
	awkward := []string{"...", "-", " ", "a\nb", "a\\b", "\xff\xfe", "é", "e\u0301", ".git", "GIT~1", "a:b", "%2e", "\x01"}
	if r.IntN(3) == 0 {
		return fmt.Sprintf("%s%d", awkward[r.IntN(len(awkward))], r.IntN(5))
	}
	b := make([]byte, 1+r.IntN(12))
	for i := range b {
		if b[i] = byte(1 + r.IntN(255)); b[i] == '/' {
			b[i] = 'x'
		}
	}
	if name := string(b); name != "." && name != ".." {
		return name
	}
	return "dots"
}

// grow makes a random tree below dir.
func grow(t *testing.T, r *rand.Rand, dir string, depth int) {
	for range r.IntN(12) {
		file := dir + "/" + randomName(r)
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		switch kind := r.IntN(10); {
		case kind < 4:
			must(t, os.WriteFile(file, make([]byte, r.IntN(3000)), 0o600))
			must(t, syscall.Chmod(file, uint32(r.IntN(0o10000))))
		case kind < 7 && depth > 0:
			must(t, os.Mkdir(file, 0o700))
			grow(t, r, file, depth-1)
			must(t, syscall.Chmod(file, uint32(0o700|r.IntN(0o10000))))
		case kind < 8:
			must(t, os.Symlink([]string{"/etc", "../..", "\xff", "nothing", strings.Repeat("l", 4000)}[r.IntN(5)], file))
		case kind < 9:
			must(t, unix.Mkfifo(file, 0o600))
		default:
			must(t, unix.Mknod(file, unix.S_IFSOCK|0o600, 0))
		}
		when := []unix.Timespec{{Sec: 1}, {Sec: r.Int64N(1 << 33), Nsec: r.Int64N(1e9)}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, file, when, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// seenBy lists a directory with package filepath.
func seenBy(t *testing.T, dir string) (all []Entry) {
	must(t, filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		info, err := os.Lstat(file)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		e := Entry{
			Path: strings.TrimPrefix(file, dir+"/"), Type: Other, Mode: st.Mode & 0o7777, Size: info.Size(),
			MTime: info.ModTime().UnixNano(), CTime: time.Unix(st.Ctim.Unix()).UnixNano(), Inode: st.Ino,
		}
		switch {
		case info.Mode().IsRegular():
			e.Type = File
		case info.IsDir():
			e.Type = Dir
		case info.Mode()&fs.ModeSymlink != 0:
			e.Type = Link
			e.Link, err = os.Readlink(file)
		}
		all = append(all, e)
		return err
	}))
	return all
}

// TestAListSaysWhatLstatSays: of a random tree, in the same order.
func TestAListSaysWhatLstatSays(t *testing.T) {
	total := 0
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 16))
		dir := t.TempDir()
		if seed > 3 {
			dir = inMemory(t)
		}
		grow(t, r, dir, 4)
		got, want := listed(t, dir, Options{}), seenBy(t, dir)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: -lstat +list\n%s", seed, diff)
		}
		total += len(got)
	}
	if total < 300 {
		t.Errorf("only %d entries were compared", total)
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

func TestWhatIsSkipped(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".git/objects", "a/.git/x", "a/build/x", "build/x", "web/dist/x", "web/dist2"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "web/.git"), nil, 0o644))
	all := listed(t, dir, Options{Skip: []string{".git/", "/build", "./web/dist", ""}})
	var got []string
	for _, e := range all {
		got = append(got, strings.Repeat("-", map[bool]int{true: 1}[e.Skipped])+e.Path)
	}
	want := []string{"-.git", "a", "a/-.git", "a/build", "a/build/x", "-build", "web", "web/.git", "-web/dist", "web/dist2"}
	for i := range want {
		if rest, ok := strings.CutPrefix(want[i], "a/-"); ok {
			want[i] = "-a/" + rest
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestWhatCannotBeRead: what is below a directory that cannot be read is unknown, and the list
// says so. It is not missing from the list, which would mean that it does not exist.
func TestWhatCannotBeRead(t *testing.T) {
	t.Run("longer than a path", func(t *testing.T) {
		dir := t.TempDir()
		deep := makeDeep(t, dir, 200)
		all := listed(t, dir, Options{})
		last := all[len(all)-1]
		if len(all) >= deep || last.Type != Dir || last.Unread != "file name too long" || len(last.Path) > maxPath {
			t.Errorf("the last of %d entries is %.20q…, of %d bytes, %s, %q", len(all), last.Path, len(last.Path), last.Type, last.Unread)
		}
	})
	t.Run("forbidden", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("NOT RUN: nothing is forbidden to root")
		}
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "closed/x"), nil, 0o600))
		must(t, os.Chmod(filepath.Join(dir, "closed"), 0))
		all := listed(t, dir, Options{})
		must(t, os.Chmod(filepath.Join(dir, "closed"), 0o700))
		if len(all) != 1 || all[0].Type != Dir || all[0].Unread != "permission denied" {
			t.Errorf("%+v", all)
		}
	})
	t.Run("another user's file system", func(t *testing.T) {
		at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fusetest.File(t).Fd()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(path.Dir(at), "zzz"), nil, 0o600))
		all := listed(t, path.Dir(at), Options{})
		if len(all) != 2 || all[0].Type != Other || all[0].Unread != "permission denied" || all[1].Unread != "" {
			t.Errorf("%+v", all)
		}
	})
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
	if all := listed(t, dir, Options{Entries: 3000}); len(all) != 3000 {
		t.Errorf("%d entries", len(all))
	}
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

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// TestNoLinkLeadsOut: nothing of another directory is listed or fetched, although a directory is
// exchanged for a link to it again and again.
func TestNoLinkLeadsOut(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "sub/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "sub/deep/own"), []byte("own"), 0o600))
	must(t, os.MkdirAll(filepath.Join(out, "deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(out, "deep/own"), []byte("secret"), 0o600))
	must(t, os.WriteFile(filepath.Join(out, "deep/secret"), []byte("secret"), 0o600))
	must(t, os.Symlink(out, filepath.Join(dir, "link")))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/sub", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	found, read := 0, 0
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		for _, e := range listed(t, dir, Options{}) {
			if path.Base(e.Path) == "secret" {
				t.Fatalf("%s is listed", e.Path)
			}
			found += map[bool]int{true: 1}[path.Base(e.Path) == "own"]
		}
		for _, f := range fetchAll(t, dir, "sub/deep/own", "sub/deep/secret") {
			if f.text == "secret" {
				t.Fatalf("%s was fetched", f.Path)
			}
			read += map[bool]int{true: 1}[f.text == "own"]
		}
	}
	if found == 0 || read == 0 {
		t.Errorf("listed %d times, fetched %d times: this test is of no use", found, read)
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
