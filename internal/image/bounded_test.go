package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/image/oci"
)

// bigFirst is an archive whose first file is a large one.
func bigFirst(t *testing.T) io.Reader {
	t.Helper()
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "f", Size: 1 << 40, Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	return io.MultiReader(&head, io.LimitReader(zeros{}, 64<<20))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestALookIsShort: to tell what an archive is, its first file is not read to its end.
func TestALookIsShort(t *testing.T) {
	r := &counter{r: bigFirst(t), report: func(int64) {}}
	if looksLikeImage(r) || r.n.Load() > 4<<20 {
		t.Errorf("read %d bytes", r.n.Load())
	}
}

// TestNobodyReadsOn: the rest of a layer is read only where that tells something, and
// while anybody waits for it.
func TestNobodyReadsOn(t *testing.T) {
	gone, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	gone.Close()
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx    context.Context
		digest string
	}{"no digest": {t.Context(), ""}, "given up": {ended, "sha256:" + strings.Repeat("0", 64)}} {
		r := &counter{r: bigFirst(t), report: func(int64) {}}
		layer := oci.Layer{Digest: c.digest, Size: 1 << 40, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }}
		if err := feedOne(c.ctx, w, layer); err == nil || r.n.Load() > 4<<20 {
			t.Errorf("%s: read %d bytes, %v", name, r.n.Load(), err)
		}
	}
}

// TestAFifoIsNoArchive: opening one waits for nobody.
func TestAFifoIsNoArchive(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fifo", "index.json", "oci-layout"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, done := open(t), make(chan error, 1)
	go func() {
		_, err := c.Import(context.Background(), api.ImportImage{Path: filepath.Join(dir, "fifo"), Name: "x"}, silent)
		_, _, _ = c.importImage(context.Background(), nonblockingRoot{root}, api.ImportImage{Path: dir, Name: "y"}, silent)
		done <- err
	}()
	select {
	case err := <-done:
		if api.KindOf(err) != api.KindInvalid {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

// TestSizesDoNotWrap: what is too much stays so where the sum has no room.
func TestSizesDoNotWrap(t *testing.T) {
	u := unpacker{tree: paperTree{}, limits: defaultLimits, s: &summary{Bytes: 1}}
	err := u.entry(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: math.MaxInt64}, zeros{})
	if api.KindOf(err) != api.KindInvalid || !strings.HasSuffix(err.Error(), defaultLimits.tooLarge().Error()) || !strings.Contains(err.Error(), `"f"`) {
		t.Error(err)
	}
}

// TestXzMemory: a header of a few bytes does not get 4 GiB.
func TestXzMemory(t *testing.T) {
	data := decoded(t, xzText)
	const header, size, dictionary = 12, 12, 16 // of the block (the .xz file format, 3.1)
	if data[header] != size/4-1 {
		t.Fatalf("the block's header has %d bytes", 4*(int(data[header])+1))
	}
	data[dictionary] = 40 // 4 GiB less a byte
	binary.LittleEndian.PutUint32(data[header+size-4:], crc32.ChecksumIEEE(data[header:header+size-4]))
	r, err := decompress(bytes.NewReader(data))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err == nil || !strings.Contains(err.Error(), "dictionary") {
		t.Error(err)
	}
}
