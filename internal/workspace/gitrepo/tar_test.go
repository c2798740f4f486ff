package gitrepo

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
)

// TestModesAndTimes: permissions of files and directories, and times, are those on disk; bits
// that give rights are not written.
func TestModesAndTimes(t *testing.T) {
	dir := newRepo(t)
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o640|os.ModeSetuid))
	must(t, os.Chmod(filepath.Join(dir, "dir"), 0o700))
	info, err := os.Stat(filepath.Join(dir, "a"))
	must(t, err)
	r := open(t, dir)
	files, err := r.Files(t.Context(), Select{})
	must(t, err)
	var stream bytes.Buffer
	var count int64
	must(t, r.WriteTar(t.Context(), &stream, files, TarOptions{Each: func(_ string, n int64) { count += n }}))
	var sum, dirs int64
	for in := tar.NewReader(&stream); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		sum += h.Size
		switch {
		case h.Name == "a" && (h.Mode != 0o640 || !h.ModTime.Equal(info.ModTime()) || h.Uid != 0 || h.Uname != ""):
			t.Errorf("a is %+v", h)
		case h.Name == "dir/" && h.Mode != 0o700:
			t.Errorf("dir is %+v", h)
		case h.Name == "link" && h.ModTime.Unix() == 0:
			t.Errorf("link is %+v", h)
		}
		if h.Typeflag == tar.TypeDir {
			dirs++
		}
	}
	if sum != count || dirs != 2 {
		t.Errorf("%d bytes were counted of %d, and %d directories", count, sum, dirs)
	}
}

// atPath is a writer that changes something when a name passes.
type atPath struct {
	bytes.Buffer
	do func()
}

func (w *atPath) Write(p []byte) (int, error) {
	if do := w.do; do != nil && w.Len() > 0 {
		w.do = nil
		do()
	}
	return w.Buffer.Write(p)
}

// TestWhatChangesWhileItIsWritten: the stream stays valid, and what did not ship as it was listed
// is named.
func TestWhatChangesWhileItIsWritten(t *testing.T) {
	const size = 3 << 20
	for name, do := range map[string]func(t *testing.T, dir, file string){
		"cut":     func(t *testing.T, _, file string) { must(t, os.Truncate(file, size/2)) },
		"longer":  func(t *testing.T, _, file string) { must(t, os.Truncate(file, size*2)) },
		"changed": func(t *testing.T, _, file string) { must(t, os.WriteFile(file, make([]byte, size), 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := newRepo(t)
			file := filepath.Join(dir, "big")
			must(t, os.WriteFile(file, bytes.Repeat([]byte("x"), size), 0o644))
			r := open(t, dir)
			files, err := r.Files(t.Context(), Select{})
			must(t, err)
			said := notes{}
			w := &atPath{do: func() { do(t, dir, file) }}
			must(t, r.WriteTar(t.Context(), w, files, TarOptions{Note: said.add}))
			got := inTar(t, &w.Buffer, t.TempDir())
			if len(got["big"]) != size+len("file ") || len(got) != len(files) {
				t.Errorf("the stream has %d bytes of it, and %d of %d files", len(got["big"]), len(got), len(files))
			}
			if len(said) != 1 || !strings.Contains(said["big"], "changed while it was read") {
				t.Errorf("what is said is %q", said)
			}
		})
	}
}

// TestWhatChangesAfterItIsListed: a path that is something else now. What a link leads to is
// never read in its place.
func TestWhatChangesAfterItIsListed(t *testing.T) {
	dir, outside := newRepo(t), t.TempDir()
	write(t, outside, "secret", "SECRET", "c", "SECRET")
	r := open(t, dir)
	files, err := r.Files(t.Context(), Select{})
	must(t, err)
	for _, name := range []string{"a", "gone", "run.sh", "empty", "dir/deep"} {
		must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "a")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "run.sh"), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(dir, "dir/deep")))
	said := notes{}
	var stream bytes.Buffer
	must(t, r.WriteTar(t.Context(), &stream, files, TarOptions{Note: said.add}))
	if bytes.Contains(stream.Bytes(), []byte("SECRET")) {
		t.Error("what is behind a link shipped")
	}
	got := inTar(t, &stream, t.TempDir())
	if got["a"] != "link "+filepath.Join(outside, "secret") {
		t.Errorf("a is %q", got["a"])
	}
	for _, name := range []string{"gone", "run.sh", "empty", "dir/deep/c"} {
		if _, there := got[name]; there || said[name] == "" {
			t.Errorf("of %s is said %q, and it shipped: %v", name, said[name], there)
		}
	}
}

// TestWriteTarStops when its context ends or its writer fails.
func TestWriteTarStops(t *testing.T) {
	r := open(t, newRepo(t))
	files, err := r.Files(t.Context(), Select{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	checkError(t, r.WriteTar(ctx, io.Discard, files, TarOptions{}), api.KindCanceled, "not all written", "")
	_, err = r.Files(ctx, Select{})
	checkError(t, err, api.KindCanceled, "stopped", "")
	reader, writer := io.Pipe()
	reader.CloseWithError(errors.New("the guest is gone"))
	if err := r.WriteTar(t.Context(), writer, files, TarOptions{}); err == nil || !strings.Contains(err.Error(), "the guest is gone") {
		t.Errorf("the error is %v", err)
	}
}
