package fill_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/image/ext4"
	"banger/internal/image/ext4/fill"
)

// made makes a file system, has use put files into it, and has e2fsck look at all of it.
func made(t testing.TB, size string, inodes int, use func(w *fill.Writer)) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fs")
	run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-O", fill.Features, "-N", fmt.Sprint(inodes),
		"-E", "lazy_itable_init=0,lazy_journal_init=0", file, size)
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	w, err := fill.Open(f)
	check(t, err)
	use(w)
	check(t, w.Close())
	run(t, "e2fsck", "-f", "-n", file)
	return file
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dir(mode uint16) fill.Meta  { return fill.Meta{Mode: unix.S_IFDIR | mode} }
func file(mode uint16) fill.Meta { return fill.Meta{Mode: unix.S_IFREG | mode} }

// finish writes the root directory and lost+found.
func finish(t testing.TB, w *fill.Writer, entries ...fill.Entry) {
	t.Helper()
	_, err := w.Directory(fill.LostFoundInode, fill.RootInode, dir(0o700), nil, 4)
	check(t, err)
	_, err = w.Directory(fill.RootInode, fill.RootInode, dir(0o755), append(entries, fill.Entry{Name: "lost+found", Inode: fill.LostFoundInode, Mode: unix.S_IFDIR}), 0)
	check(t, err)
}

func TestEmpty(t *testing.T) { made(t, "64M", 100, func(w *fill.Writer) { finish(t, w) }) }

// TestManyNames: directories of all sizes are indexed, and e2fsck knows each name's hash
// to be the one that it has computed; with one level of the index, and with two.
func TestManyNames(t *testing.T) {
	for _, n := range []int{1, 200, 5000, 130_000} {
		odd := []string{"\xff\xfe", "über", "new\nline", strings.Repeat("x", 255), strings.Repeat("y", 32), strings.Repeat("z", 33)}
		image := made(t, "256M", n+100, func(w *fill.Writer) {
			number, err := w.Inode()
			check(t, err)
			var entries []fill.Entry
			for k := range n {
				name := fmt.Sprintf("name-%d-%s", k, strings.Repeat("long", k%8))
				if k < len(odd) {
					name = odd[k]
				}
				inode, err := w.Inode()
				check(t, err)
				if _, err := w.Node(inode, fill.Meta{Mode: unix.S_IFIFO | 0o600}, 0, 0); err != nil {
					t.Fatal(err)
				}
				entries = append(entries, fill.Entry{Name: name, Inode: inode, Mode: unix.S_IFIFO})
			}
			_, err = w.Directory(number, fill.RootInode, dir(0o755), entries, 0)
			check(t, err)
			finish(t, w, fill.Entry{Name: "d", Inode: number, Mode: unix.S_IFDIR})
		})
		flags := run(t, "debugfs", "-R", "stat /d", image)
		if indexed := strings.Contains(flags, "Flags: 0x81000"); indexed != (n > 100) {
			t.Errorf("%d names: indexed %v:\n%s", n, indexed, flags)
		}
		// What e2fsprogs computes for the odd names is what is in the index.
		if n > 100 {
			tree := run(t, "debugfs", "-R", "htree_dump /d", image)
			if strings.Contains(tree, "BAD") || !strings.Contains(tree, "name-") {
				t.Errorf("%d names:\n%.2000s", n, tree)
			}
		}
	}
}

// TestSubdirectories: more than 65,000 are not counted any more.
func TestSubdirectories(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 66,000 directories")
	}
	made(t, "512M", 70_000, func(w *fill.Writer) {
		number, err := w.Inode()
		check(t, err)
		var entries []fill.Entry
		for k := range 66_000 {
			inode, err := w.Inode()
			check(t, err)
			_, err = w.Directory(inode, number, dir(0o755), nil, 0)
			check(t, err)
			entries = append(entries, fill.Entry{Name: fmt.Sprint(k), Inode: inode, Mode: unix.S_IFDIR})
		}
		_, err = w.Directory(number, fill.RootInode, dir(0o755), entries, 0)
		check(t, err)
		finish(t, w, fill.Entry{Name: "d", Inode: number, Mode: unix.S_IFDIR})
	})
}

// TestFiles: what is written is read again by our reader and by debugfs: files with holes
// of all kinds, attributes in the inode and in a block, links, devices, times.
func TestFiles(t *testing.T) {
	ctx := context.Background()
	source := filepath.Join(t.TempDir(), "source")
	random := rand.New(rand.NewSource(1))
	then := time.Unix(5_000_000_000, 123456789) // after 2038
	large := bytes.Repeat([]byte("v"), 3000)
	acl := []byte("\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
		"\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff")
	contents := map[string][]byte{}
	sizes := []int{0, 1, 4095, 4096, 4097, 1 << 20, 3<<20 + 17}
	image := made(t, "256M", 1000, func(w *fill.Writer) {
		var entries []fill.Entry
		add := func(name string, kind uint16, put func(n uint32) (int, error)) uint32 {
			n, err := w.Inode()
			check(t, err)
			lost, err := put(n)
			check(t, err)
			if wantLost := name == "greedy"; (lost > 0) != wantLost {
				t.Errorf("%s: %d attributes are lost", name, lost)
			}
			entries = append(entries, fill.Entry{Name: name, Inode: n, Mode: kind})
			return n
		}
		put := func(name string, m fill.Meta, data []byte) uint32 {
			check(t, os.WriteFile(source, data, 0o600))
			contents[name] = data
			f, err := os.Open(source)
			check(t, err)
			defer f.Close()
			return add(name, unix.S_IFREG, func(n uint32) (int, error) { return w.File(ctx, n, m, f, int64(len(data))) })
		}
		for _, size := range sizes {
			data := make([]byte, size)
			random.Read(data)
			put(fmt.Sprint("plain", size), file(0o644), data)
		}
		holes := make([]byte, 16<<20) // every other block: more extents than one block of them has
		for at := 0; at < len(holes); at += 8192 {
			copy(holes[at:], "data")
		}
		put("holes", file(0o644), holes)
		put("zeros", file(0o644), make([]byte, 1<<20))
		m := file(0o4755)
		m.UID, m.GID, m.ModTime = 70000, 80000, then
		m.Attrs = []ext4.Attr{{Name: "user.a", Value: []byte("1")}, {Name: "security.capability", Value: []byte("\x01\x00\x00\x02aaaabbbbccccdddd")},
			{Name: "user.large", Value: large}, {Name: "trusted.b", Value: nil}, {Name: "system.posix_acl_access", Value: acl}}
		number := put("rich", m, []byte("x"))
		m.Attrs = []ext4.Attr{{Name: "user.huge", Value: make([]byte, 5000)}}
		put("greedy", m, nil)
		for range 3 {
			linked, err := w.Link(number)
			if err != nil || !linked {
				t.Errorf("a link: %v, %v", linked, err)
			}
			entries = append(entries, fill.Entry{Name: fmt.Sprint("link", len(entries)), Inode: number, Mode: unix.S_IFREG})
		}
		for _, n := range []int{1, 59, 60, 4000} {
			target := strings.Repeat("t", n)
			add(fmt.Sprint("symlink", n), unix.S_IFLNK, func(n uint32) (int, error) {
				return w.Symlink(n, fill.Meta{Mode: unix.S_IFLNK | 0o777}, target)
			})
		}
		add("device", unix.S_IFBLK, func(n uint32) (int, error) { return w.Node(n, fill.Meta{Mode: unix.S_IFBLK | 0o600}, 259, 70000) })
		add("console", unix.S_IFCHR, func(n uint32) (int, error) { return w.Node(n, fill.Meta{Mode: unix.S_IFCHR | 0o600}, 5, 1) })
		add("socket", unix.S_IFSOCK, func(n uint32) (int, error) { return w.Node(n, fill.Meta{Mode: unix.S_IFSOCK | 0o600}, 0, 0) })
		finish(t, w, entries...)
	})
	f, err := os.Open(image)
	check(t, err)
	defer f.Close()
	info, err := f.Stat()
	check(t, err)
	fs, err := ext4.Open(f, info.Size())
	check(t, err)
	root, err := fs.Inode(ext4.Root)
	check(t, err)
	entries, err := root.Entries(func(ext4.Entry) error { return nil })
	check(t, err)
	find := func(name string) *ext4.Inode {
		at := slices.IndexFunc(entries, func(e ext4.Entry) bool { return e.Name == name })
		if at < 0 {
			t.Fatalf("there is no %s", name)
		}
		i, err := fs.Inode(entries[at].Inode)
		check(t, err)
		return i
	}
	for name, want := range contents {
		var got bytes.Buffer
		check(t, find(name).Copy(&got))
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: %d bytes are others than the %d that were written", name, got.Len(), len(want))
		}
	}
	rich := find("rich")
	attrs, err := rich.Attrs()
	check(t, err)
	got := map[string]string{}
	for _, a := range attrs {
		got[a.Name] = string(a.Value)
	}
	if rich.Links != 4 || rich.UID != 70000 || rich.GID != 80000 || !rich.ModTime.Equal(then) || rich.Mode != unix.S_IFREG|0o4755 ||
		got["user.a"] != "1" || got["user.large"] != string(large) || got["system.posix_acl_access"] != string(acl) || len(got) != 5 {
		t.Errorf("rich: %+v %q", rich, got)
	}
	for _, n := range []int{1, 59, 60, 4000} {
		if target, err := find(fmt.Sprint("symlink", n)).Target(); err != nil || target != strings.Repeat("t", n) {
			t.Errorf("a link to %d bytes: %q, %v", n, target, err)
		}
	}
	if major, minor := find("device").Device(); major != 259 || minor != 70000 {
		t.Errorf("the device is %d:%d", major, minor)
	}
	if out := run(t, "debugfs", "-R", "stat /zeros", image); !strings.Contains(out, "Blockcount: 0") {
		t.Errorf("zeros take blocks:\n%s", out)
	}
}

// TestFull: there is an error where there is no room, and not a damaged file system.
func TestFull(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	check(t, os.WriteFile(source, bytes.Repeat([]byte("x"), 64<<20), 0o600))
	f, err := os.Open(source)
	check(t, err)
	defer f.Close()
	image := filepath.Join(t.TempDir(), "fs")
	run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-O", fill.Features, "-N", "32", image, "32M")
	out, err := os.OpenFile(image, os.O_RDWR, 0)
	check(t, err)
	defer out.Close()
	w, err := fill.Open(out)
	check(t, err)
	n, err := w.Inode()
	check(t, err)
	if _, err := w.File(context.Background(), n, file(0o644), f, 64<<20); err != fill.ErrFull {
		t.Errorf("a large file: %v", err)
	}
	for range 1000 {
		if _, err = w.Inode(); err != nil {
			break
		}
	}
	if err != fill.ErrFull {
		t.Errorf("many files: %v", err)
	}
}
