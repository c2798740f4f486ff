package kernel

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// maxSize bounds a kernel or module in bytes, compressed or not.
const maxSize = 512 << 20

// xzMemory is the largest dictionary in bytes that kernels are compressed with
// (scripts/xz_wrap.sh in the kernel's sources).
const xzMemory = 128 << 20

var errTooBig = fmt.Errorf("it is larger than %d MiB uncompressed", maxSize>>20)

// The first bytes of each format.
const (
	magicGzip = "\x1f\x8b"
	magicXz   = "\xfd7zXZ\x00"
	magicZstd = "\x28\xb5\x2f\xfd"
	magicLz4  = "\x02\x21\x4c\x18" // the legacy frame, as the kernel uses it
	magicELF  = "\x7fELF"
)

// decompress detects the compression of data and undoes it; an ELF file is returned
// unchanged.
func decompress(data []byte) ([]byte, error) {
	starts := func(magic string) bool { return bytes.HasPrefix(data, []byte(magic)) }
	var r io.Reader
	var err error
	switch in := bytes.NewReader(data); {
	case starts(magicELF):
		return data, nil
	case starts(magicGzip):
		var z *gzip.Reader
		if z, err = gzip.NewReader(in); err == nil {
			z.Multistream(false)
			r = z
		}
	case starts(magicXz):
		var z *xz.Reader
		if z, err = xz.NewReader(in, xzMemory); err == nil {
			z.Multistream(false)
			r = z
		}
	case starts(magicZstd):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSize)); err == nil {
			defer z.Close()
			r = z
		}
	case starts(magicLz4):
		r = lz4.NewReader(in)
	default:
		err = fmt.Errorf("its compression is not supported (it starts with % x)", data[:min(len(data), 6)])
	}
	if err != nil {
		return nil, err
	}
	return readCapped(r)
}

func readCapped(r io.Reader) ([]byte, error) {
	var out cappedBuffer
	if _, err := io.Copy(&out, r); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// cappedBuffer is a buffer that holds at most maxSize bytes.
type cappedBuffer struct{ buf bytes.Buffer }

func (c *cappedBuffer) Write(p []byte) (int, error) {
	if c.buf.Len()+len(p) > maxSize {
		return 0, errTooBig
	}
	return c.buf.Write(p)
}

func (c *cappedBuffer) Bytes() []byte { return c.buf.Bytes() }
