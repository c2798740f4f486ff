package imagetest

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"testing"
	"time"
)

// Archive writes a tar archive; content of regular files is their Linkname.
func Archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeCont || h.Typeflag == 'D' {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Busybox returns an archive of a small root file system with a static busybox.
func Busybox(t testing.TB) []byte {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("this test needs a static busybox (sudo apt-get install busybox-static): %v", err)
	}
	when := time.Unix(1700000000, 0)
	return Archive(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir},
		tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, ModTime: when},
		tar.Header{Name: "./bin/busybox", Typeflag: tar.TypeReg, Mode: 0o4755, Linkname: string(program), ModTime: when},
		tar.Header{Name: "./bin/sh", Typeflag: tar.TypeSymlink, Linkname: "busybox"},
		tar.Header{Name: "./bin/ls", Typeflag: tar.TypeLink, Linkname: "./bin/busybox"},
		tar.Header{Name: "./home/me/f", Typeflag: tar.TypeReg, Uid: 1000, Gid: 1001, Mode: 0o640, Linkname: "hello"},
		tar.Header{Name: "./run/pipe", Typeflag: tar.TypeFifo},
	)
}

// Dir is the entry of a directory.
func Dir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }

// File is the entry of a regular file.
func File(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: content, Mode: 0o644}
}

// Link is the entry of a hard link.
func Link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
}

// Symlink is the entry of a symbolic link.
func Symlink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

// Device is the entry of a device; kind is tar.TypeChar or tar.TypeBlock.
func Device(name string, kind byte, mode, major, minor int64) tar.Header {
	return tar.Header{Name: name, Typeflag: kind, Mode: mode, Devmajor: major, Devminor: minor, Gid: 6}
}

// Owned returns an entry with another owner.
func Owned(h tar.Header, uid, gid int) tar.Header {
	h.Uid, h.Gid, h.Format = uid, gid, tar.FormatPAX
	return h
}

// BigFirst returns an archive whose first file is a large one.
func BigFirst(t testing.TB) io.Reader {
	t.Helper()
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "f", Size: 1 << 40, Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	return io.MultiReader(&head, io.LimitReader(Zeros{}, 64<<20))
}

// Zeros is a reader of zeros without an end.
type Zeros struct{}

func (Zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
