package roothelper

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/rootapi"
)

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// keep has the helper keep a boot file, and returns its digest.
func (w *fixture) keep(content string) string {
	w.TB.Helper()
	digest := digestOf(content)
	w.must(rootapi.BootPutCall{Digest: digest}, nil, w.file(content))
	return digest
}

func TestBootPut(t *testing.T) {
	w := newFixture(t)
	const content = "an initramfs"
	call := rootapi.BootPutCall{Digest: digestOf(content)}
	var answer rootapi.BootPutAnswer
	if w.must(call, &answer); answer.Kept {
		t.Error("kept before it was put")
	}
	if w.must(call, &answer, w.file(content)); !answer.Kept {
		t.Error("not kept")
	}
	path := filepath.Join(w.Dirs.Boot, call.Digest)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o444 || w.read(path) != content {
		t.Errorf("%v, %v", info, err)
	}
	// What is kept is not read again, whatever comes.
	if w.must(call, &answer, w.file("something else")); !answer.Kept || w.read(path) != content {
		t.Error("replaced")
	}
	if w.must(call, &answer); !answer.Kept {
		t.Error("asked without a file: not kept")
	}
}

func TestBootPutRefuses(t *testing.T) {
	w := newFixture(t)
	open := func(path string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(path, flags, 0)
		w.check(err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	fifo := filepath.Join(w.dir(), "fifo")
	w.check(unix.Mkfifo(fifo, 0o600))
	large := filepath.Join(w.dir(), "large")
	w.check(os.WriteFile(large, nil, 0o600))
	w.check(os.Truncate(large, maxBootFile+1))
	call := rootapi.BootPutCall{Digest: digestOf("x")}
	for name, f := range map[string]*os.File{
		"FIFO": open(fifo, os.O_RDWR), "directory": open(w.dir(), os.O_RDONLY), "device": open("/dev/zero", os.O_RDONLY),
		"too large": open(large, os.O_RDONLY), "another content": w.file("y"), "empty": w.file(""),
	} {
		t.Log(name)
		w.refuses(api.KindInvalid, call, f)
	}
	for name, f := range map[string]*os.File{
		"write-only": w.log("log", os.O_WRONLY, owner), "by its path only": open(w.file("x").Name(), unix.O_PATH),
	} {
		t.Log(name)
		w.refuses(api.KindInternal, call, f)
	}
	entries, err := os.ReadDir(w.Dirs.Boot)
	w.check(err)
	if len(entries) != 1 { // that of newFixture
		t.Errorf("something was left: %v", entries)
	}
}

// TestLargestBootFile: the limit itself is allowed, and the error names it.
func TestLargestBootFile(t *testing.T) {
	w := newFixture(t)
	f := w.file("")
	w.check(os.Truncate(f.Name(), maxBootFile))
	if size, err := bootSize(f); size != maxBootFile || err != nil {
		t.Errorf("%d, %v", size, err)
	}
	w.check(os.Truncate(f.Name(), maxBootFile+1))
	if _, err := bootSize(f); err == nil || !strings.Contains(err.Error(), "at most 1024 MiB") {
		t.Error(err)
	}
}

// TestBootFileHasItsSizeAtOnce: another request counts it while it is being copied.
func TestBootFileHasItsSizeAtOnce(t *testing.T) {
	w := newFixture(t)
	f, err := w.bootFiles().stage(12345)
	w.check(err)
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 12345 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
}

// TestBootFileThatCannotGetItsName: a copy that cannot be renamed is not reported as kept.
func TestBootFileThatCannotGetItsName(t *testing.T) {
	w := newFixture(t)
	path := filepath.Join(w.Dirs.Boot, "a directory")
	w.check(os.Mkdir(path, 0o700))
	if err := w.bootFiles().store(w.file("x"), path, digestOf("x")); err == nil {
		t.Error("a directory was replaced by a file")
	}
}

// TestRequiredBootFiles: each of them is required, and a fault is not taken for a file.
func TestRequiredBootFiles(t *testing.T) {
	w := newFixture(t)
	b := w.bootFiles()
	w.check(b.require(w.sum, w.sum))
	for _, digests := range [][]string{{w.sum, digestOf("never put")}, {digestOf("never put"), w.sum}} {
		if err := b.require(digests...); api.KindOf(err) != api.KindNotFound {
			t.Errorf("%s: %v", digests, err)
		}
	}
	b.dir = w.logs[0].Name() // not a directory
	if err := b.require(w.sum); api.KindOf(err) != api.KindInternal {
		t.Error(err)
	}
}

// TestBootFileThatGrows: what is read is bounded, and has the digest or is refused.
func TestBootFileThatGrows(t *testing.T) {
	w := newFixture(t)
	path := filepath.Join(w.dir(), "grows")
	w.check(os.WriteFile(path, []byte("x"), 0o600))
	f, err := os.Open(path)
	w.check(err)
	defer f.Close()
	w.check(os.WriteFile(path, []byte("xy"), 0o600))
	w.refuses(api.KindInvalid, rootapi.BootPutCall{Digest: digestOf("x")}, f)
	w.must(rootapi.BootPutCall{Digest: digestOf("xy")}, nil, f)
	// A position that another process moved does not matter.
	if _, err := f.Seek(2, 0); err != nil {
		t.Fatal(err)
	}
	w.check(os.WriteFile(path, []byte("xyz"), 0o600))
	w.must(rootapi.BootPutCall{Digest: digestOf("xyz")}, nil, f)
}

func TestUnusedBootFilesAreForgotten(t *testing.T) {
	w := newFixture(t)
	old, linked, staged := filepath.Join(w.Dirs.Boot, strings.Repeat("a", 64)), filepath.Join(w.Dirs.Boot, strings.Repeat("b", 64)), filepath.Join(w.Dirs.Boot, stagedPrefix+"1")
	for path, age := range map[string]time.Duration{old: keepUnused, linked: keepUnused, staged: time.Hour} {
		w.check(os.WriteFile(path, nil, 0o444))
		long := time.Now().Add(-age - time.Minute)
		w.check(os.Chtimes(path, long, long))
	}
	w.check(os.Link(linked, filepath.Join(w.Dirs.Jails, "in-use")))
	w.keep("a new one")
	for path, there := range map[string]bool{old: false, linked: true, staged: false, filepath.Join(w.Dirs.Boot, w.sum): true} {
		if _, err := os.Lstat(path); (err == nil) != there {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

func TestLogsAreChecked(t *testing.T) {
	w := newFixture(t)
	fifo := filepath.Join(w.dir(), "fifo")
	w.check(unix.Mkfifo(fifo, 0o600))
	w.check(os.Chown(fifo, owner, owner))
	pipe, err := os.OpenFile(fifo, os.O_RDWR|os.O_APPEND, 0)
	w.check(err)
	defer pipe.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY|os.O_APPEND, 0)
	w.check(err)
	defer null.Close()
	path, err := os.OpenFile(w.logs[0].Name(), unix.O_PATH, 0)
	w.check(err)
	defer path.Close()
	for name, f := range map[string]*os.File{
		"not appending": w.log("log", os.O_WRONLY, owner), "read-write": w.log("log", os.O_RDWR|os.O_APPEND, owner),
		"read-only": w.log("log", os.O_RDONLY|os.O_APPEND, owner), "another user's": w.log("log", os.O_WRONLY|os.O_APPEND, owner+1),
		"root's": w.log("log", os.O_WRONLY|os.O_APPEND, 0), "FIFO": pipe, "device": null, "by its path only": path,
	} {
		t.Log(name)
		if err := checkLog(f, owner); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
		w.blocks.attached[vm] = true
		w.refuses(api.KindInvalid, w.startCall(vm, 1), w.logs[0], f)
	}
	if err := checkLog(w.logs[0], owner); err != nil {
		t.Error(err)
	}
	if _, found, _ := w.findJail(vm); found {
		t.Error("a jail was made for a start that was refused")
	}
}
