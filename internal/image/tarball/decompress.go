package tarball

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"

	"banger/api"
)

const (
	// xzMemory is the largest dictionary in bytes that an archive may request: that of
	// xz -9 (xz(1)). A header of 32 bytes can request 4 GiB.
	xzMemory = 64 << 20
	// zstdWindow is the largest window in bytes: that of zstd --long (zstd(1)).
	zstdWindow = 128 << 20
)

// formats are the supported compressions, by their first bytes (magic(5)).
var formats = []struct {
	magic string
	open  func(*bufio.Reader) (io.Reader, error)
}{
	{"\x1f\x8b", openGzip},
	{"\xfd7zXZ\x00", func(r *bufio.Reader) (io.Reader, error) { return xz.NewReader(r, xzMemory) }},
	{"\x28\xb5\x2f\xfd", func(r *bufio.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
	}},
	{"BZh", func(r *bufio.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"\x04\x22\x4d\x18", func(r *bufio.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
}

// Decompress detects the compression of r and undoes it.
func Decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			plain, err := f.open(b)
			if err != nil {
				return nil, compression(err)
			}
			return &decompressor{plain}, nil
		}
	}
	return b, nil
}

// IsCompressed reports whether an archive that starts with head is compressed.
func IsCompressed(head []byte) bool {
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return true
		}
	}
	return false
}

// decompressor marks errors of the compression as such.
type decompressor struct{ r io.Reader }

// Read implements io.Reader.
func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = compression(err)
	}
	return n, err
}

// compression explains an error of a decompressor. A cut off file is left to the
// caller, who knows where.
func compression(err error) error {
	var known *api.Error
	switch {
	case errors.As(err, &known), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return api.Errorf(api.KindUnsupported, "it is compressed with a window of more than %d MiB, which would take as much memory to read", zstdWindow>>20).
			WithHint("compress it again, with at most zstd --long=27")
	case errors.Is(err, xz.ErrMemlimit):
		return api.Errorf(api.KindUnsupported, "it is compressed with a dictionary of more than %d MiB, which would take as much memory to read", xzMemory>>20).
			WithHint("compress it again, with at most xz -9")
	}
	return BadCompression{err}
}

// BadCompression is the error of a compressed file that is damaged.
type BadCompression struct{ error }

func (b BadCompression) Unwrap() error { return b.error }

// openGzip reads all gzip members of a file. Zeros may follow them: tapes and some
// builders pad files with zeros (gzip(1)).
func openGzip(r *bufio.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &members{r, z}, nil
}

type members struct {
	raw *bufio.Reader
	z   *gzip.Reader
}

// Read implements io.Reader.
func (m *members) Read(p []byte) (int, error) {
	n, err := m.z.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	head, err := m.raw.Peek(2)
	switch {
	case len(head) == 0 && errors.Is(err, io.EOF):
		return n, io.EOF
	case string(head) == "\x1f\x8b":
		if err := m.z.Reset(m.raw); err != nil {
			return n, err
		}
		m.z.Multistream(false)
		return n, nil
	}
	for {
		b, err := m.raw.ReadByte()
		switch {
		case err != nil:
			return n, err
		case b != 0:
			return n, errors.New("the file continues with data that is not gzip")
		}
	}
}
