package ext4

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/host/execx"
)

// tool runs a program of e2fsprogs. debugfs does not fail where its commands do,
// and says so.
func tool(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	path, err := execx.LookPath(name, "e2fsprogs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// made makes a file system of size bytes with what fill makes in a directory.
// script is what debugfs then does to it.
func made(t testing.TB, size int64, options []string, fill func(root string), script string) string {
	t.Helper()
	dir := t.TempDir()
	root, file := filepath.Join(dir, "root"), filepath.Join(dir, "fs")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	fill(root)
	args := append([]string{"-q", "-F", "-d", root, "-E", "root_owner=0:0,lazy_itable_init=1"}, options...)
	tool(t, "", "mke2fs", append(args, file, fmt.Sprintf("%dk", size>>10))...)
	if script != "" {
		tool(t, script, "debugfs", "-w", "-f", "-", file)
	}
	return file
}

// put writes a file that fill makes.
func put(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func opened(t testing.TB, file string) *FS {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	fs, err := Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func all(Entry) error { return nil }

// at finds an inode by its path.
func at(t testing.TB, fs *FS, name string) *Inode {
	t.Helper()
	i, err := fs.Inode(Root)
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if err != nil {
			break
		}
		if part == "" {
			continue
		}
		var entries []Entry
		if entries, err = i.Entries(all); err != nil {
			break
		}
		err = errors.New("there is no " + name)
		for _, e := range entries {
			if e.Name == part {
				i, err = fs.Inode(e.Inode)
				break
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func content(t testing.TB, i *Inode) string {
	t.Helper()
	var b bytes.Buffer
	if err := i.Copy(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// kinds are the file systems that the tests read: today's, the ones before it, and
// what mke2fs can make besides.
var kinds = map[string][]string{
	"ext4":         {"-t", "ext4", "-b", "4096"},
	"ext4 1k":      {"-t", "ext4", "-b", "1024", "-I", "256"},
	"64k blocks":   {"-t", "ext4", "-b", "65536", "-O", "^has_journal", "-N", "1000"},
	"32 bits":      {"-t", "ext4", "-O", "^64bit,^metadata_csum,uninit_bg"},
	"inline data":  {"-t", "ext4", "-b", "4096", "-O", "inline_data", "-I", "512"},
	"large dir":    {"-t", "ext4", "-O", "large_dir,metadata_csum_seed,sparse_super2,mmp"},
	"ext3":         {"-t", "ext3", "-b", "1024"},
	"ext2":         {"-t", "ext2", "-b", "1024"},
	"small inodes": {"-t", "ext4", "-b", "4096", "-I", "128"},
	"bigalloc":     {"-t", "ext4", "-O", "bigalloc", "-C", "65536", "-N", "1000"},
}

// TestReads reads what is in file systems of all kinds.
func TestReads(t *testing.T) {
	random := make([]byte, 1<<20+7)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	long := strings.Repeat("x", 300)
	fill := func(root string) {
		put(t, root+"/a", "hello")
		put(t, root+"/d/random", string(random))
		put(t, root+"/empty", "")
		for n := range 400 { // an index where there are any
			put(t, fmt.Sprintf("%s/many/a-rather-long-name-%04d", root, n), "")
		}
		holes, err := os.Create(root + "/holes")
		if err != nil {
			t.Fatal(err)
		}
		_, err = holes.WriteAt([]byte("middle"), 2<<20)
		if err = errors.Join(err, holes.Truncate(6<<20), holes.Close()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Symlink("a", root+"/fast"), os.Symlink(long, root+"/slow"), os.Symlink(long[:100], root+"/mid"), os.Link(root+"/a", root+"/d/b")); err != nil {
			t.Fatal(err)
		}
	}
	// Some versions of mke2fs forget a hole at the end of a file where there is inline data.
	script := "sif a uid 70000\nsif a gid 80000\nsif a mode 0104755\nsif a mtime 20010203040506\nea_set a user.note hello\n" +
		"mknod null c 1 3\nmknod big b 1 1\nsif holes size 6291456\nsif big block[0] 0\nsif big block[1] 0x11112c70\nmknod pipe p\n"
	for name, options := range kinds {
		t.Run(name, func(t *testing.T) {
			file := made(t, 24<<20, options, fill, script)
			fs := opened(t, file)
			a := at(t, fs, "a")
			if a.UID != 70000 || a.GID != 80000 || a.Mode != 0o104755 || a.Links != 2 || a.ModTime.UTC() != time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) {
				t.Errorf("a is %+v", a)
			}
			if b := at(t, fs, "d/b"); b.Number != a.Number || content(t, b) != "hello" {
				t.Errorf("d/b is inode %d, a %d", b.Number, a.Number)
			}
			if attrs, err := a.Attrs(); err != nil || len(attrs) != 1 || attrs[0].Name != "user.note" || string(attrs[0].Value) != "hello" {
				t.Errorf("attributes %q, %v", attrs, err)
			}
			if content(t, at(t, fs, "d/random")) != string(random) || content(t, at(t, fs, "empty")) != "" {
				t.Error("other content")
			}
			want := make([]byte, 6<<20)
			copy(want[2<<20:], "middle")
			if content(t, at(t, fs, "holes")) != string(want) {
				t.Error("the file with holes has other content")
			}
			for link, want := range map[string]string{"fast": "a", "slow": long, "mid": long[:100]} {
				if got, err := at(t, fs, link).Target(); err != nil || got != want {
					t.Errorf("%s: %q, %v", link, got, err)
				}
			}
			if major, minor := at(t, fs, "null").Device(); major != 1 || minor != 3 || !at(t, fs, "null").Is(unix.S_IFCHR) {
				t.Errorf("null is %d:%d", major, minor)
			}
			if major, minor := at(t, fs, "big").Device(); major != 300 || minor != 70000 || !at(t, fs, "big").Is(unix.S_IFBLK) {
				t.Errorf("big is %d:%d", major, minor)
			}
			if !at(t, fs, "pipe").Is(unix.S_IFIFO) {
				t.Error("pipe is no fifo")
			}
			entries, err := at(t, fs, "many").Entries(all)
			if err != nil || len(entries) != 400 || entries[399].Name != "a-rather-long-name-0399" {
				t.Errorf("%d entries, %v", len(entries), err)
			}
			if empty, err := at(t, fs, "lost+found").Empty(); err != nil || !empty {
				t.Errorf("lost+found: %v %v", empty, err)
			}
			if empty, err := at(t, fs, "d").Empty(); err != nil || empty {
				t.Errorf("d: %v %v", empty, err)
			}
		})
	}
}

// TestExtentTrees reads files whose extents need nodes of their own, of which some
// were allocated and never written.
func TestExtentTrees(t *testing.T) {
	const block, count = 1024, 3000
	fill := func(root string) {
		f, err := os.Create(root + "/f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for n := range int64(count) { // every other block is a hole
			if _, err := f.WriteAt(bytes.Repeat([]byte{byte(n), 1}, block/2), n*2*block); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What follows the content is allocated, and not written.
	fs := opened(t, made(t, 16<<20, []string{"-t", "ext4", "-b", "1024"}, fill, "fallocate f 6000 6500\nsif f size 6656000\n"))
	f := at(t, fs, "f")
	if depth := le.Uint16(f.raw[atBlocks+6:]); depth < 2 {
		t.Fatalf("its tree is %d deep", depth)
	}
	got := content(t, f)
	if len(got) != 6500*block || strings.Trim(got[6000*block:], "\x00") != "" {
		t.Errorf("%d bytes, or something where nothing was written", len(got))
	}
	for n := range count {
		if got[n*2*block] != byte(n) || got[n*2*block+1] != 1 || got[(n*2+1)*block] != 0 {
			t.Fatalf("block %d is wrong", n)
		}
	}
}

// TestTimes: nanoseconds, and years that 32 bits do not reach.
func TestTimes(t *testing.T) {
	want := map[string]time.Time{
		"new": time.Unix(1700000000, 123456789), "late": time.Unix(1<<33, 999999999), "early": time.Unix(-1, 5), "first": time.Unix(-1<<31, 0),
	}
	fs := opened(t, made(t, 4<<20, []string{"-t", "ext4"}, func(root string) {
		for name, when := range want {
			put(t, filepath.Join(root, name), "")
			if err := os.Chtimes(filepath.Join(root, name), when, when); err != nil {
				t.Fatal(err)
			}
		}
	}, "sif late mtime 0\nsif late mtime_extra 0xee6b27fe\nsif new mtime_extra 0x1d6f3454\nsif early mtime_extra 20\nsif first mtime_extra 0\n"))
	for name, when := range want {
		if got := at(t, fs, name).ModTime; !got.Equal(when) {
			t.Errorf("%s: %v, want %v", name, got.UTC(), when.UTC())
		}
	}
}

// TestAttrs reads attributes from the inode, from a block and from both, and turns
// lists for access into what the kernel takes.
func TestAttrs(t *testing.T) {
	value := strings.Repeat("v", 900)
	caps := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	dir := t.TempDir()
	put(t, dir+"/caps", caps)
	put(t, dir+"/value", value)
	list := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	put(t, dir+"/acl", list)
	script := fmt.Sprintf("ea_set -f %[1]s/caps f security.capability\nea_set -f %[1]s/value f user.large\nea_set f trusted.t 1\nea_set -f %[1]s/acl g system.posix_acl_access\n", dir)
	fs := opened(t, made(t, 4<<20, []string{"-t", "ext4", "-I", "256"}, func(root string) { put(t, root+"/f", ""); put(t, root+"/g", "") }, script))
	attrs, err := at(t, fs, "f").Attrs()
	if err != nil || len(attrs) != 3 {
		t.Fatalf("got %q, %v", attrs, err)
	}
	for n, want := range []Attr{{"security.capability", []byte(caps)}, {"trusted.t", []byte("1")}, {"user.large", []byte(value)}} {
		if attrs[n].Name != want.Name || string(attrs[n].Value) != string(want.Value) {
			t.Errorf("got %q, want %q", attrs[n], want)
		}
	}
	attrs, err = at(t, fs, "g").Attrs()
	if err != nil || len(attrs) != 1 || attrs[0].Name != aclAccess || string(attrs[0].Value) != list {
		t.Errorf("got %q, %v", attrs, err)
	}
}

// TestRefuses: what is no file system, cut off, or has what is not understood.
func TestRefuses(t *testing.T) {
	good, err := os.ReadFile(made(t, 1<<20, []string{"-t", "ext4", "-O", "^has_journal"}, func(string) {}, ""))
	if err != nil {
		t.Fatal(err)
	}
	set := func(offset int, value uint32) func([]byte) []byte {
		return func(b []byte) []byte {
			le.PutUint32(b[superOffset+offset:], value)
			return b
		}
	}
	for name, tt := range map[string]struct {
		do   func([]byte) []byte
		want string
	}{
		"small":         {func(b []byte) []byte { return b[:2000] }, "too small"},
		"cut":           {func(b []byte) []byte { return b[:1<<19] }, "cut off"},
		"zeros":         {func([]byte) []byte { return make([]byte, 4096) }, "not an ext4"},
		"journal":       {set(0x60, 0x2|0x4), "its journal has to be replayed"},
		"features":      {set(0x60, 0x2|0x10000|0x80000000), "unsupported features: encrypt, number 31"},
		"blocks":        {set(0x18, 7), "its block size is invalid"},
		"no blocks":     {set(0x4, 0), "its number of blocks is invalid"},
		"groups":        {set(0x20, 0), "its groups are empty"},
		"inodes":        {set(0x0, 1<<31), "its number of inodes is invalid"},
		"size of inode": {set(0x58, 300), "its inode size is invalid"},
	} {
		b := tt.do(bytes.Clone(good))
		_, err := Open(bytes.NewReader(b), int64(len(b)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// TestNames: names that no directory of a sound file system has.
func TestNames(t *testing.T) {
	good, err := os.ReadFile(made(t, 1<<20, []string{"-t", "ext4", "-O", "^has_journal"}, func(root string) {
		put(t, root+"/twin-a", "")
		put(t, root+"/twin-b", "")
	}, ""))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"twin-b": `contains "twin-b" twice`, "a/../b": `contains the invalid name "a/../b"`, "a\x00\x00\x00\x00\x00": "contains the invalid name"} {
		bad := bytes.ReplaceAll(good, []byte("twin-a"), []byte(name))
		fs, err := Open(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := at(t, fs, "/").Entries(all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// walk reads all that can be reached, as long as budgets last: a damaged file
// system may have the same directory many times, and files of any size.
type walk struct {
	fs      *FS
	entries int
	bytes   int64
	sum     io.Writer
}

var errEnough = errors.New("enough")

func (w *walk) Write(p []byte) (int, error) {
	if w.bytes -= int64(len(p)); w.bytes < 0 {
		return 0, errEnough
	}
	return w.sum.Write(p)
}

func (w *walk) inode(number uint32, depth int) {
	i, err := w.fs.Inode(number)
	if err != nil {
		return
	}
	_, _ = i.Attrs()
	_, _ = i.Device()
	switch {
	case i.Is(unix.S_IFLNK):
		_, _ = i.Target()
	case i.Is(unix.S_IFDIR) && depth < 10:
		entries, _ := i.Entries(func(Entry) error {
			if w.entries--; w.entries < 0 {
				return errEnough
			}
			return nil
		})
		for _, e := range entries {
			w.inode(e.Inode, depth+1)
		}
	default:
		_ = i.Copy(w)
	}
}

func readAll(data []byte) {
	fs, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	w := &walk{fs: fs, entries: 1000, bytes: 4 << 20, sum: sha256.New()}
	w.inode(Root, 0)
}

// small is a file system of 64 KiB with one of everything.
func small(t testing.TB, options ...string) []byte {
	t.Helper()
	file := made(t, 128<<10, append([]string{"-b", "1024", "-N", "32"}, options...), func(root string) {
		put(t, root+"/d/f", strings.Repeat("content ", 1000))
		put(t, root+"/sparse", "")
		if err := errors.Join(os.Truncate(root+"/sparse", 1<<20), os.Symlink(strings.Repeat("x", 100), root+"/l")); err != nil {
			t.Fatal(err)
		}
	}, "ea_set d user.x 1\nmknod n c 1 3\n")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var smallKinds = [][]string{
	{"-t", "ext4", "-O", "^has_journal,^resize_inode", "-I", "256"},
	{"-t", "ext4", "-O", "^has_journal,^resize_inode,inline_data", "-I", "256"},
	{"-t", "ext2", "-O", "^resize_inode"},
}

// used are the places of a file system that say something, in pieces of 64 bytes.
func used(data []byte) []int {
	var all []int
	for n := 0; n < len(data); n += 64 {
		if strings.Trim(string(data[n:n+64]), "\x00") != "" {
			all = append(all, n)
		}
	}
	return all
}

// TestDamaged reads file systems with random damage: it must come to an end, and
// not in a panic.
func TestDamaged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, options := range smallKinds {
		good := small(t, options...)
		places := used(good)
		for range 1000 {
			bad := bytes.Clone(good)
			for range 1 + random.IntN(8) {
				at := places[random.IntN(len(places))] + random.IntN(64)
				bad[at] = []byte{0, 1, 0x7F, 0xFF, byte(random.Uint32())}[random.IntN(5)]
			}
			readAll(bad)
		}
	}
}

// FuzzRead reads file systems with damage that is chosen: three bytes say where,
// one says what is there.
func FuzzRead(f *testing.F) {
	var all [][]byte
	var places [][]int
	for n, options := range smallKinds {
		all = append(all, small(f, options...))
		places = append(places, used(all[n]))
		f.Add(byte(n), []byte{})
		f.Add(byte(n), []byte{0, 0, 0x18, 1, 0, 1, 0x28, 0xFF})
	}
	f.Fuzz(func(_ *testing.T, kind byte, damage []byte) {
		n := int(kind) % len(all)
		bad := bytes.Clone(all[n])
		for ; len(damage) >= 4; damage = damage[4:] {
			at := int(damage[0])<<16 | int(damage[1])<<8 | int(damage[2])
			bad[places[n][at/64%len(places[n])]+at%64] = damage[3]
		}
		readAll(bad)
	})
}
