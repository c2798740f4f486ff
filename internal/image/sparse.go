package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"banger/api"
	"banger/internal/host/fsx"
)

// chunk is how many bytes are read between two checks of the context.
const chunk = 1 << 20

// hashFile returns the SHA-256 of a file, holes included, in hexadecimal.
func hashFile(ctx context.Context, path string, report api.Report) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h, zeros, buf := sha256.New(), make([]byte, chunk), make([]byte, chunk)
	var hashed int64
	skip := func(to int64) {
		for hashed < to {
			n, _ := h.Write(zeros[:min(chunk, to-hashed)])
			hashed += int64(n)
		}
	}
	err = fsx.EachData(ctx, f, info.Size(), chunk, func(at, n int64) error {
		skip(at)
		if _, err := f.ReadAt(buf[:n], at); err != nil && err != io.EOF {
			return err
		}
		h.Write(buf[:n])
		hashed += n
		if hashed%(16*mib) < chunk {
			report(api.Progress{Step: "image", Message: "computing the digest", Done: hashed, Total: info.Size(), Unit: "bytes"})
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	skip(info.Size())
	return hex.EncodeToString(h.Sum(nil)), nil
}

// cloneFile copies a file as cheaply as the file system allows.
func cloneFile(ctx context.Context, from, to string, report api.Report) error {
	return fsx.CloneFile(ctx, from, to, func(done, total int64) {
		report(api.Progress{Step: "disk", Message: "copying the image", Done: done, Total: total, Unit: "bytes"})
	})
}
