package tarball_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"banger/internal/image/imagetest"
	"banger/internal/image/tarball"
)

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
		"plain": want, "gzip": imagetest.Gzip(t, want),
		"zstd": imagetest.Compress(t, want, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
		// Go writes neither: `xz -9` and `bzip2 -9` of the same bytes.
		"xz":    decoded(t, xzText),
		"bzip2": decoded(t, "QlpoOTFBWSZTWc5AVBUACcORgEAAIyacICAAkCBoGgJqqaZDQ6qQe1IOakGakGakHdSDNSDFSDqpB3Ug1Ug3Ug3Ug1Ug+qQcVIMVIPqpB+LuSKcKEhnICoKg"),
		"lz4":   imagetest.Compress(t, want, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil }),
	} {
		r, err := tarball.Decompress(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
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
	r, err := tarball.Decompress(bytes.NewReader(data))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err == nil || !strings.Contains(err.Error(), "dictionary") {
		t.Error(err)
	}
}
