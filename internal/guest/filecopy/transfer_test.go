package filecopy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cable carries a copy, and counts what the source sends. It breaks behind limit
// bytes, where that is not 0.
type cable struct {
	sent, limit int64
	w           io.Writer
}

func (c *cable) Write(p []byte) (int, error) {
	if c.limit > 0 && c.sent+int64(len(p)) > c.limit {
		n, _ := c.w.Write(p[:c.limit-c.sent])
		c.sent = c.limit
		return n, errors.New("the cable broke")
	}
	c.sent += int64(len(p))
	return c.w.Write(p)
}

// transfer copies file to name in dir, as both ends of a session do.
func transfer(t *testing.T, file, dir, name string, o Options, limit int64) (sent int64, warnings []string, err error) {
	t.Helper()
	return transferFrom(t, Source{File: file}, dir, name, name, o, limit)
}

// transferFrom copies a source to name in dir, where the receiver expects what is below top.
func transferFrom(t *testing.T, from Source, dir, top, name string, o Options, limit int64) (sent int64, warnings []string, err error) {
	t.Helper()
	down, downW := io.Pipe()
	up, upW := io.Pipe()
	c := &cable{w: downW, limit: limit}
	sending := make(chan error, 1)
	go func() {
		err := SendFrom(t.Context(), up, c, from, name, nil)
		downW.Close()
		sending <- err
	}()
	o.Warn = func(name, what string) { warnings = append(warnings, filepath.Base(name)+" "+what) }
	err = Receive(down, upW, dir, top, o, nil)
	down.Close()
	upW.Close()
	return c.sent, warnings, errors.Join(<-sending, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noise(t testing.TB, n int) []byte {
	b := make([]byte, n)
	_, err := rand.Read(b)
	must(t, err)
	return b
}

// tree makes one with everything in it that is kept.
func tree(t testing.TB, dir string) {
	t.Helper()
	for _, d := range []string{"", "sub", "empty", "closed", "bad \xff\n name"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	write := func(name string, b []byte, mode os.FileMode) {
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		must(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	write("one", []byte("one\n"), 0o640)
	write("nothing", nil, 0o444)
	write("bad \xff\n name/in", []byte("x"), 0o755)
	write("closed/in", noise(t, 3000), 0o600)
	write("large", noise(t, 3<<20), 0o604)
	write(strings.Repeat("n", 255), []byte("a long name"), 0o600)
	must(t, os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "sub/again")))
	must(t, os.Symlink("one", filepath.Join(dir, "link")))
	must(t, os.Symlink("/no/where", filepath.Join(dir, "sub/dangling")))
	f, err := os.Create(filepath.Join(dir, "sub/holes"))
	must(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 300<<20)
	must(t, err)
	must(t, f.Truncate(1<<30))
	must(t, f.Close())
	must(t, unix.Setxattr(filepath.Join(dir, "one"), "user.note", []byte("a\x00b"), 0))
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0o500|fs.ModeSticky))
	at := int64(1_600_000_000)
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		at++
		ts := []unix.Timespec{{Sec: at}, {Sec: at, Nsec: at % 1e9}}
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
	}))
}

// picture is a tree as text. Owners are those of whoever made it.
func picture(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var st syscall.Stat_t
		must(t, syscall.Lstat(path, &st))
		line := fmt.Sprintf("%q %o %d.%09d", rel, st.Mode, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			line += " -> " + target
		case unix.S_IFREG:
			first, ok := inodes[st.Ino]
			if !ok {
				inodes[st.Ino], first = rel, "itself"
			}
			x, err := xattrs(path)
			must(t, err)
			f, err := os.Open(path)
			must(t, err)
			sum, err := prefixSum(f, st.Size)
			must(t, err)
			f.Close()
			line += fmt.Sprintf(" is %s, %d bytes %x, holes %v, %q", first, st.Size, sum[:8], st.Blocks*512 < st.Size-(1<<20), x)
		}
		if rel != "." {
			lines = append(lines, line)
		}
		return nil
	}))
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func TestTreeArrivesAsItIs(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "tree"), t.TempDir()
	tree(t, from)
	t.Cleanup(func() { removeAll(to); removeAll(from) })
	sent, warnings, err := transfer(t, from, to, "copy", Options{}, 0)
	must(t, err)
	if len(warnings) > 0 {
		t.Error(warnings)
	}
	if got, want := picture(t, filepath.Join(to, "copy")), picture(t, from); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if sent > 4<<20 {
		t.Errorf("%d bytes were sent: the hole was not free", sent)
	}
	// Once more: nothing is sent but what it is.
	sent, _, err = transfer(t, from, to, "copy", Options{}, 0)
	must(t, err)
	if got, want := picture(t, filepath.Join(to, "copy")), picture(t, from); got != want {
		t.Errorf("the second time: got\n%s\nwant\n%s", got, want)
	}
	if sent > 16<<10 {
		t.Errorf("%d bytes were sent though all was there", sent)
	}
}

func TestWithoutArchiveNothingIsGivenAway(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "f"), t.TempDir()
	must(t, os.WriteFile(from, []byte("x"), 0o600))
	must(t, os.Chmod(from, 0o755|fs.ModeSetuid|fs.ModeSetgid))
	for _, archive := range []bool{false, true} {
		_, _, err := transfer(t, from, to, "f", Options{Archive: archive}, 0)
		must(t, err)
		info, err := os.Stat(filepath.Join(to, "f"))
		must(t, err)
		kept := info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0
		if want := archive && os.Geteuid() == 0; kept != want {
			t.Errorf("archive %v: mode %v", archive, info.Mode())
		}
	}
	if os.Geteuid() != 0 {
		t.Log("NOT RUN: only root can set owners")
		return
	}
	must(t, os.Chown(from, 1234, 5678))
	for archive, want := range map[bool]uint32{false: 0, true: 1234} {
		must(t, os.RemoveAll(filepath.Join(to, "f"))) // what is the same already is left alone
		_, _, err := transfer(t, from, to, "f", Options{Archive: archive}, 0)
		must(t, err)
		var st syscall.Stat_t
		must(t, syscall.Stat(filepath.Join(to, "f"), &st))
		if st.Uid != want {
			t.Errorf("archive %v: owner %d", archive, st.Uid)
		}
	}
}

func TestInterruptedCopyGoesOn(t *testing.T) {
	const size = 8 << 20
	content := noise(t, size)
	for name, c := range map[string]struct {
		change func(from, part string) // between the two attempts
		most   int64                   // bytes of the second
	}{
		"as it was": {func(string, string) {}, size/2 + 100<<10},
		"the source changed": {func(from, _ string) {
			content[5]++
			must(t, os.WriteFile(from, content, 0o600))
		}, size + 100<<10},
		"the source grew": {func(from, _ string) {
			content = append(content, "more"...)
			must(t, os.WriteFile(from, content, 0o600))
		}, size/2 + 100<<10},
		"the part is damaged": {func(_, part string) {
			f, err := os.OpenFile(part, os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("?"), 70<<10)
			must(t, errors.Join(err, f.Close()))
		}, size + 100<<10},
		"the part is a link": {func(from, part string) {
			must(t, os.Rename(part, part+".away"))
			must(t, os.Symlink(part+".away", part))
		}, size + 100<<10},
		"the part is shared": {func(_, part string) { must(t, os.Link(part, part+".too")) }, size + 100<<10},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := filepath.Join(t.TempDir(), "from"), t.TempDir()
			must(t, os.WriteFile(from, content, 0o600))
			must(t, os.WriteFile(filepath.Join(to, "f"), []byte("before"), 0o600))
			if _, _, err := transfer(t, from, to, "f", Options{}, size/2); err == nil {
				t.Fatal("the cable did not break")
			}
			if b, _ := os.ReadFile(filepath.Join(to, "f")); string(b) != "before" {
				t.Fatalf("%d bytes have the final name", len(b))
			}
			c.change(from, filepath.Join(to, partName("f")))
			sent, _, err := transfer(t, from, to, "f", Options{}, 0)
			must(t, err)
			if b, _ := os.ReadFile(filepath.Join(to, "f")); !bytes.Equal(b, content) {
				t.Error("the copy is another file")
			}
			if sent > c.most {
				t.Errorf("%d bytes were sent, at most %d had to", sent, c.most)
			}
			if _, err := os.Lstat(filepath.Join(to, partName("f"))); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the part is still there:", err)
			}
		})
	}
}

// TestSmallPartsAreNotKept: what is quickly sent again is not worth a stray file.
func TestSmallPartsAreNotKept(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), t.TempDir()
	must(t, os.WriteFile(from, noise(t, keepFrom/2), 0o600))
	if _, _, err := transfer(t, from, to, "f", Options{}, keepFrom/4); err == nil {
		t.Fatal("the cable did not break")
	}
	if left, _ := os.ReadDir(to); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestTwoCopiesToOnePlace: neither gives the other's half its name.
func TestTwoCopiesToOnePlace(t *testing.T) {
	dir := t.TempDir()
	at, err := openTarget(dir, Options{})
	must(t, err)
	defer at.close()
	e := Entry{Type: File, Name: "f", Size: 1, Mode: 0o600, MTime: time.Unix(1, 0)}
	first, err := at.create(e, false)
	must(t, err)
	if _, err := at.create(e, true); err == nil {
		t.Error("a part that is being written was taken up")
	}
	second, err := at.create(e, false)
	must(t, err)
	if err := first.commit(); err == nil || !strings.Contains(err.Error(), "another copy") {
		t.Errorf("the first: %v", err)
	}
	must(t, second.commit())
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestWhatIsPassedOver(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(from, "pipe"), 0o600))
	must(t, os.WriteFile(filepath.Join(from, "z"), []byte("z"), 0o600))
	_, warnings, err := transfer(t, from, to, ".", Options{}, 0)
	must(t, err)
	if len(warnings) != 1 || warnings[0] != "pipe is a named pipe: skipped" {
		t.Errorf("%q", warnings)
	}
	if b, _ := os.ReadFile(filepath.Join(to, "z")); string(b) != "z" {
		t.Errorf("what follows is %q", b)
	}
}

func TestFileChangesWhileItIsRead(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), t.TempDir()
	must(t, os.Mkdir(from, 0o700))
	must(t, os.WriteFile(filepath.Join(from, "a"), noise(t, 4<<20), 0o600))
	must(t, os.WriteFile(filepath.Join(from, "b"), []byte("b"), 0o600))
	for what, change := range map[string]func(f *os.File) error{
		"changed while it was read": func(f *os.File) error { _, err := f.WriteAt([]byte("changed"), 0); return err },
		"became shorter":            func(f *os.File) error { return f.Truncate(1 << 20) },
	} {
		f, err := os.OpenFile(filepath.Join(from, "a"), os.O_RDWR, 0)
		must(t, err)
		must(t, f.Truncate(4<<20))
		must(t, errors.Join(f.Truncate(0), f.Truncate(4<<20)))
		_, err = f.Write(noise(t, 4<<20))
		must(t, err)
		down, downW := io.Pipe()
		up, upW := io.Pipe()
		sending := make(chan error, 1)
		go func() {
			sending <- Send(t.Context(), up, downW, from, "copy", nil)
			downW.Close()
		}()
		var warnings []string
		o := Options{Warn: func(_, what string) { warnings = append(warnings, what) }}
		once := false
		err = Receive(down, upW, to, "copy", o, func(p Progress) {
			if p.Bytes > 2<<20 && !once {
				once = true
				must(t, change(f))
			}
		})
		f.Close()
		short := what == "became shorter"
		if sendErr := <-sending; err != nil || (sendErr != nil) != short {
			t.Fatalf("%s: %v, %v", what, sendErr, err)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], what) {
			t.Errorf("%s: warned of %q", what, warnings)
		}
		_, err = os.Stat(filepath.Join(to, "copy/a"))
		if _, bErr := os.Stat(filepath.Join(to, "copy/b")); (err != nil) != short || bErr != nil {
			t.Errorf("%s: %v, %v", what, err, bErr)
		}
		removeAll(filepath.Join(to, "copy"))
	}
}
