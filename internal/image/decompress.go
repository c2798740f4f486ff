package image

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// xzMemory is the largest dictionary that an archive may ask for: that of xz -9
// (xz(1)). A header of 32 bytes can ask for 4 GiB.
const xzMemory = 64 << 20

// formats are the compressions of archives, by the bytes they begin with
// (magic(5)).
var formats = []struct {
	magic string
	open  func(io.Reader) (io.Reader, error)
}{
	{"\x1f\x8b", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"\xfd7zXZ\x00", func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xzMemory) }},
	{"\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	}},
	{"BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"\x04\x22\x4d\x18", func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
}

// decompress undoes the compression of r, whichever it is.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.open(b)
		}
	}
	return b, nil
}

// isCompressed says whether an archive that begins so is compressed.
func isCompressed(head []byte) bool {
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return true
		}
	}
	return false
}
