package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"banger/api"
)

// Verify returns r's bytes, and at their end an error of kind api.KindInvalid unless
// they have that size in bytes and that digest. A digest of "" and a size of -1 are not
// checked. It never reads much more than size.
func Verify(r io.Reader, digest string, size int64) io.Reader {
	return &verifier{r: r, digest: digest, size: size, sum: sha256.New()}
}

type verifier struct {
	r      io.Reader
	digest string
	size   int64
	n      int64
	sum    hash.Hash
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.n += int64(n)
	v.sum.Write(p[:n])
	if v.size >= 0 && v.n > v.size {
		return 0, api.Errorf(api.KindInvalid, "%s has more than its declared %d bytes", v.name(), v.size)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if bad := v.check(); bad != nil {
			return n, bad
		}
	}
	return n, err
}

func (v *verifier) name() string {
	if v.digest == "" {
		return "it"
	}
	return v.digest
}

func (v *verifier) check() error {
	if v.size >= 0 && v.n < v.size {
		return api.Errorf(api.KindInvalid, "%s is cut off after %d of %d bytes", v.name(), v.n, v.size)
	}
	if got := "sha256:" + hex.EncodeToString(v.sum.Sum(nil)); v.digest != "" && got != v.digest {
		return api.Errorf(api.KindInvalid, "%s has different content: its digest is %s", v.digest, got)
	}
	return nil
}

// OpenVerified opens the blob of a layer and verifies it while it is read.
func (l Layer) OpenVerified(ctx context.Context) (io.ReadCloser, error) {
	r, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{Verify(r, l.Digest, l.Size), r}, nil
}
