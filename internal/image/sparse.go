package image

import (
	"context"
	"os"

	"banger/api"
	"banger/internal/host/fileid"
	"banger/internal/host/fsx"
)

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
	return fileid.Hash(ctx, f, info.Size(), hashing(report))
}

// hashing reports the progress of a digest.
func hashing(report api.Report) func(done, total int64) {
	return func(done, total int64) {
		report(api.Progress{Step: "image", Message: "computing the digest", Done: done, Total: total, Unit: "bytes"})
	}
}

// cloneFile copies a file as cheaply as the file system allows.
func cloneFile(ctx context.Context, from, to string, report api.Report) error {
	return fsx.CloneFile(ctx, from, to, func(done, total int64) {
		report(api.Progress{Step: "disk", Message: "copying the image", Done: done, Total: total, Unit: "bytes"})
	})
}
