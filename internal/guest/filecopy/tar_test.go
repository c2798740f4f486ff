package filecopy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/host/execx"
)

// gnuTar runs GNU tar on a stream.
func gnuTar(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	must(t, execx.Run(t.Context(), execx.Cmd{Name: "tar", Args: args, Stdin: bytes.NewReader(in), Stdout: &out}))
	return out.Bytes()
}

// TestTarKeepsAll packs and unpacks, each with ours and with GNU tar.
func TestTarKeepsAll(t *testing.T) {
	from := filepath.Join(t.TempDir(), "tree")
	tree(t, from)
	t.Cleanup(func() { removeAll(from) })
	want := picture(t, from)
	packed := map[string]func() []byte{
		"ours": func() []byte {
			var b bytes.Buffer
			must(t, PackTar(&b, from, "tree", nil))
			return b.Bytes()
		},
		"pax": func() []byte {
			return gnuTar(t, nil, "-c", "-S", "--xattrs", "--format=pax", "-C", filepath.Dir(from), "tree")
		},
	}
	unpacked := map[string]func(dir string, b []byte){
		"ours": func(dir string, b []byte) {
			must(t, UnpackTar(t.Context(), bytes.NewReader(b), dir, Options{Archive: true}))
		},
		"GNU tar": func(dir string, b []byte) { gnuTar(t, b, "-x", "-p", "--xattrs", "-C", dir) },
	}
	for packer, pack := range packed {
		b := pack()
		if len(b) > 5<<20 {
			t.Errorf("packed by %s: %d bytes: the hole was not free", packer, len(b))
		}
		for unpacker, unpack := range unpacked {
			to := t.TempDir()
			t.Cleanup(func() { removeAll(to) })
			unpack(to, b)
			if got := picture(t, filepath.Join(to, "tree")); got != want {
				t.Errorf("packed by %s, unpacked by %s: got\n%s\nwant\n%s", packer, unpacker, got, want)
			}
		}
	}
}

// TestOldSparseFormat is GNU tar's own, from before PAX.
func TestOldSparseFormat(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600))
	must(t, os.Truncate(filepath.Join(dir, "f"), 1<<30))
	b := gnuTar(t, nil, "-c", "-S", "--format=gnu", "-C", dir, "f")
	must(t, UnpackTar(t.Context(), bytes.NewReader(b), to, Options{}))
	if got, want := picture(t, to), picture(t, dir); strings.Split(got, ".")[1] == "" || tail(got) != tail(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// tail is a picture without the times, which that format has in seconds.
func tail(picture string) string {
	_, rest, _ := strings.Cut(picture, " is ")
	return rest
}
