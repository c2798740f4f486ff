package image

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func compressed(t testing.TB, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	return compressed(t, data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

func decoded(t testing.TB, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// xzText is what `xz -9` makes of the bytes in TestDecompress.
const xzText = "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Eo3AE1dADCICkc8mSGEKcC0abwwf+eOgaRWWlNMiTCBt0Je28+dsImdJeeSI4Jf6Yh8On1o8tUBW4CBMLO4f+eERBr9pF+jrwp6tAt/MrqPSGIAAAAAADy/LZXDj+G0AAFpuJQBAABe1fn/scRn+wIAAAAABFla"

func TestDecompress(t *testing.T) {
	want := bytes.Repeat([]byte("a root file system "), 1000)
	for name, data := range map[string][]byte{
		"plain": want, "gzip": gzipped(t, want),
		"zstd": compressed(t, want, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
		// Go writes neither: `xz -9` and `bzip2 -9` of the same bytes.
		"xz":    decoded(t, xzText),
		"bzip2": decoded(t, "QlpoOTFBWSZTWc5AVBUACcORgEAAIyacICAAkCBoGgJqqaZDQ6qQe1IOakGakGakHdSDNSDFSDqpB3Ug1Ug3Ug3Ug1Ug+qQcVIMVIPqpB+LuSKcKEhnICoKg"),
		"lz4":   compressed(t, want, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil }),
	} {
		r, err := decompress(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}
