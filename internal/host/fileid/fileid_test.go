package fileid

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// recorded writes a file and records it.
func recorded(t *testing.T, content string) (string, File) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, again(t, path)
}

func again(t *testing.T, path string) File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := Record(t.Context(), path, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestChangedFiles: whatever takes a file's place is noticed, and the error says what it is.
func TestChangedFiles(t *testing.T) {
	for why, change := range map[string]func(path string) error{
		"its content has changed":   func(path string) error { return os.WriteFile(path, []byte("other..!"), 0o600) },
		"it has 3 bytes, and had 8": func(path string) error { return os.Truncate(path, 3) },
		"it does not exist":         os.Remove,
		"it is a symbolic link":     func(path string) error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) },
		"it is a FIFO":              func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
		"it is a directory":         func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"it is a socket": func(path string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			return errors.Join(err, os.Remove(path), unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Close(fd))
		},
	} {
		path, r := recorded(t, "content!")
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		_, err := r.Check(t.Context(), nil)
		var changed *ChangedError
		if !errors.As(err, &changed) || changed.Path != path || !strings.Contains(err.Error(), path+" is not what it was: "+why) {
			t.Errorf("it says %v, not: %s", err, why)
		}
	}
}

// TestLinkOnTheWay: a directory that is replaced by a link is as bad as a file that is.
func TestLinkOnTheWay(t *testing.T) {
	path, r := recorded(t, "content")
	dir := filepath.Dir(path)
	if err := errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir)); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir + "2")
	if _, err := r.Check(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "is in a directory that is one") {
		t.Errorf("it says %v", err)
	}
}

// TestSameContent: a file that was touched, or copied back, is what it was; its new identity is to be recorded.
func TestSameContent(t *testing.T) {
	for what, change := range map[string]func(path string) error{
		"touched": func(path string) error { return os.Chtimes(path, time.Now(), time.Now().Add(-time.Hour)) },
		"copied back": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("content"), 0o600))
		},
	} {
		path, r := recorded(t, "content")
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		now, err := r.Check(t.Context(), nil)
		if err != nil || now == r || now.SHA256 != r.SHA256 {
			t.Errorf("%s: %+v, %v", what, now, err)
		}
	}
}

// TestRecentChange: right after a change the identity proves nothing, as another change may follow within the
// same tick; later it does, and nothing is read.
func TestRecentChange(t *testing.T) {
	_, r := recorded(t, "content")
	if r.Settled {
		t.Fatal("a file that was just written is settled")
	}
	lying := r
	lying.SHA256 = strings.Repeat("0", 64)
	if _, err := lying.Check(t.Context(), nil); err == nil {
		t.Error("its content was not read")
	}
	lying.Settled = true
	switch now, err := lying.Check(t.Context(), nil); {
	case !ctimeCounts(openFile(t, r.Path)):
		t.Skip("NOT RUN: this file system's ctime proves nothing")
	case err != nil || now != lying:
		t.Errorf("settled: %v", err)
	}
}

func openFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestChangesWhileRead: a file that changes while it is recorded is not.
func TestChangesWhileRead(t *testing.T) {
	path, _ := recorded(t, "content")
	_, _, err := RecordData(path, openFile(t, path), func() ([]byte, error) {
		return []byte("content"), os.WriteFile(path, []byte("changed"), 0o600)
	})
	if !errors.Is(err, errChanges) {
		t.Errorf("%v", err)
	}
	if _, _, err := RecordData(path, openFile(t, path), func() ([]byte, error) { return []byte("half"), nil }); !errors.Is(err, errChanges) {
		t.Errorf("cut off: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	path, _ := recorded(t, "content")
	if _, err := Open("/dev/null"); err == nil || !strings.Contains(err.Error(), "it is a device") {
		t.Errorf("a device: %v", err)
	}
	if _, err := Open(path + "/x"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("below a file: %v", err)
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); api.KindOf(err) != api.KindDenied || !strings.Contains(err.Error(), "it cannot be read: permission denied") {
			t.Errorf("unreadable: %v", err)
		}
	}
}

// TestHashOfHoles: holes count as zeros, and an ended context ends it.
func TestHashOfHoles(t *testing.T) {
	path, _ := recorded(t, "x")
	if err := os.Truncate(path, 40<<20); err != nil {
		t.Fatal(err)
	}
	sparse := again(t, path).SHA256
	full := append([]byte("x"), make([]byte, 40<<20-1)...)
	if err := os.WriteFile(path, full, 0o600); err != nil {
		t.Fatal(err)
	}
	reports := 0
	sum, err := Hash(t.Context(), openFile(t, path), 40<<20, func(int64, int64) { reports++ })
	if err != nil || sum != sparse || sum != hashData(full) || reports == 0 {
		t.Errorf("%s and %s, %v, %d reports", sum, sparse, err, reports)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Hash(ctx, openFile(t, path), 40<<20, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
