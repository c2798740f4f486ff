package manifest

import (
	"bytes"
	"fmt"
	"io"
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
	"golang.org/x/sys/unix"

	"banger/internal/host/fsx/fusetest"
)

var tenYearsAgo = time.Now().AddDate(-10, 0, 0)

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
// TestOnly compares lists of some directories with what the whole list says of them.
func TestOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 30 {
		dir := t.TempDir()
		grow(t, r, dir, 4)
		all := listed(t, dir, Options{})
		dirs := []string{"."}
		for _, e := range all {
			if e.Type == Dir {
				dirs = append(dirs, e.Path)
			}
		}
		r.Shuffle(len(dirs), func(a, b int) { dirs[a], dirs[b] = dirs[b], dirs[a] })
		only := append(dirs[:1+r.IntN(len(dirs))], "gone", "gone/too")
		asked, leads := map[string]bool{}, map[string]bool{}
		for _, d := range only {
			asked[d] = true
			for ; d != "."; d = path.Dir(d) {
				leads[d] = true
			}
		}
		var want []Entry
		for _, e := range all {
			if asked[path.Dir(e.Path)] || leads[e.Path] {
				want = append(want, e)
			}
		}
		if diff := gocmp.Diff(want, listed(t, dir, Options{Only: only})); diff != "" {
			t.Fatalf("only %q: %s", only, diff)
		}
	}
	for _, bad := range []string{"..", "a/../..", "/etc", "", "a/", "./a", "a\x00b"} {
		if err := List(t.Context(), io.Discard, t.TempDir(), Options{Only: []string{bad}}); err == nil {
			t.Errorf("%q is listed", bad)
		}
	}
}

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
			t.Skip("NOT RUN: root may read every directory; the tests as an ordinary user have this")
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

// TestATreeIsRemovedWhileItIsListed: what is gone is not in the list, which ends well.
func TestATreeIsRemovedWhileItIsListed(t *testing.T) {
	dir := inMemory(t)
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "b/c"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "d"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "e"), nil, 0o600))
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(dir, "a", fmt.Sprint(1000+i)), nil, 0o600))
	}
	list := reacting{do: func() {
		for _, name := range []string{"a", "b", "d"} {
			must(t, os.RemoveAll(filepath.Join(dir, name)))
		}
	}}
	must(t, List(t.Context(), &list, dir, Options{}))
	all, err := entries(list.Bytes(), Options{})
	must(t, err)
	last := all[len(all)-2:]
	if len(all) < 10 || len(all) > 2900 || path.Dir(last[0].Path) != "a" || last[1].Path != "e" {
		t.Errorf("%d entries, at last %q", len(all), paths(last))
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
