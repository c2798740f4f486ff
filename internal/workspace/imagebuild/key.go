package imagebuild

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"runtime"
	"slices"
)

// keyVersion is increased if the same source gives another image.
const keyVersion = 1

// keyDigits are as many as two of a workspace's images will not share.
const keyDigits = 16

// Key names the source with all that decides what comes of it, as far as this host knows: what the base
// image's name stands for today, and what its commands download, is not in it. Nor are the files' times.
func (s *Source) Key(ctx context.Context) (string, error) {
	h := sha256.New()
	to := json.NewEncoder(h) // a line for each: no two sequences are the same text
	put := func(v ...any) { _ = to.Encode(v) }
	put("dockerfile", keyVersion, runtime.GOARCH, s.dockerfile, s.Context, s.Target)
	for _, name := range slices.Sorted(maps.Keys(s.Args)) {
		put("arg", name, s.Args[name])
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := s.pack(ctx, w, "", nil)
		w.CloseWithError(err)
		packed <- err
	}()
	err := hashEntries(r, put)
	r.CloseWithError(errors.New("it was hashed"))
	if packErr := <-packed; packErr != nil {
		err = packErr
	}
	return hex.EncodeToString(h.Sum(nil))[:keyDigits], err
}

// hashEntries hashes what a build can see of a tar stream.
func hashEntries(r io.Reader, put func(...any)) error {
	stream := tar.NewReader(r)
	for {
		e, err := stream.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // the end of the stream, which its writer writes
			return err
		}
		if err != nil {
			return err
		}
		content := sha256.New()
		if _, err := io.Copy(content, stream); err != nil {
			return err
		}
		put(e.Typeflag, e.Name, e.Mode, e.Linkname, e.Size, content.Sum(nil))
	}
}
