package fileid

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"banger/internal/host/fsx"
)

// chunk is how many bytes are read between two checks of the context.
const chunk = 1 << 20

// between is how many bytes are read between two reports.
const between = 16 << 20

// Hash returns the SHA-256 of the first size bytes of a file, holes included, in hexadecimal.
// progress may be nil.
func Hash(ctx context.Context, f *os.File, size int64, progress func(done, total int64)) (string, error) {
	h, zeros, buf := sha256.New(), make([]byte, chunk), make([]byte, chunk)
	var hashed int64
	skip := func(to int64) error { // a hole can be of some TiB
		for hashed < to {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			n, _ := h.Write(zeros[:min(chunk, to-hashed)])
			hashed += int64(n)
		}
		return nil
	}
	err := fsx.EachData(ctx, f, size, chunk, func(at, n int64) error {
		if err := skip(at); err != nil {
			return err
		}
		if _, err := f.ReadAt(buf[:n], at); err != nil && err != io.EOF {
			return err
		}
		h.Write(buf[:n])
		hashed += n
		if progress != nil && hashed%between < chunk {
			progress(hashed, size)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if err := skip(size); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashData(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
