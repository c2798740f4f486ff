package console

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stored is how many bytes a log takes on the disk.
func stored(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// TestFloodIsBounded has a writer add forty times the bound, without a pause
// longer than the watcher's own.
func TestFloodIsBounded(t *testing.T) {
	const most, keep, total = 256 << 10, 64 << 10, 10 << 20
	path := filepath.Join(t.TempDir(), "console.log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := newWatcher(slog.New(slog.DiscardHandler), most, keep, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer w.Watch(path, nil)()
	chunk := bytes.Repeat([]byte("all work and no play\n"), 400)
	var peak int64
	for written := 0; written < total; written += len(chunk) {
		if _, err := f.Write(chunk); err != nil {
			t.Fatal(err)
		}
		peak = max(peak, stored(t, path))
		time.Sleep(500 * time.Microsecond)
	}
	if peak > total/2 {
		t.Errorf("the log held %d bytes of %d at its largest", peak, total)
	}
	for deadline := time.Now().Add(10 * time.Second); stored(t, path) > most+keep; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log still holds %d bytes", stored(t, path))
		}
	}
	if end, err := Tail(path, 1); err != nil || string(end) != "all work and no play\n" {
		t.Errorf("the last line is %q, %v", end, err)
	}
}

// TestRewrite is for file systems without holes: the end stays, and the writer,
// which knows nothing of it, goes on behind it.
func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	writer, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for i := range 10000 {
		fmt.Fprintf(writer, "%07d\n", i)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := rewrite(path, f, 80); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(writer, "%07d\n", 10000)
	got, err := os.ReadFile(path)
	var want string
	for i := 9990; i <= 10000; i++ {
		want += fmt.Sprintf("%07d\n", i)
	}
	if err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if noHoles(unix.ENOSPC) || !noHoles(os.NewSyscallError("fallocate", unix.EOPNOTSUPP)) {
		t.Error("noHoles takes one error for another")
	}
}
