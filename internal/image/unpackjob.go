package image

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// unpackSpec describes what to unpack.
type unpackSpec struct {
	// Layered makes the archives layers of an image: each may delete files of the ones
	// before it.
	Layered bool   `json:"layered,omitempty"`
	Total   int64  `json:"total"` // bytes in all archives, for the progress; 0 if unknown
	Limits  limits `json:"limits"`
	// DiffIDs are the archives' digests before compression, "" if unknown.
	DiffIDs []string `json:"diff_ids"`
	// Volumes are directories that are created if the archives do not contain them.
	Volumes []string `json:"volumes,omitempty"`
}

// runUnpack unpacks the archives that are sent as frames on standard input into the
// directory args[0], with the spec args[1]. It writes the deferred attributes to the
// file args[2].
func runUnpack(_ context.Context, args []string, emit func(any)) error {
	var spec unpackSpec
	if err := json.Unmarshal([]byte(args[1]), &spec); err != nil {
		return err
	}
	deferred, err := os.OpenFile(args[2], os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fsx.DiskError("unpack", err)
	}
	defer deferred.Close()
	if err := enterTree(args[0]); err != nil {
		return err
	}
	t, err := newHostTree("/")
	if err != nil {
		return err
	}
	s, err := spec.unpack(os.Stdin, t, func(p api.Progress) { emit(event{Progress: &p}) })
	if errors.Is(err, errIsImage) {
		emit(event{Summary: &summary{IsImage: true}})
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(t.pending.write(deferred), deferred.Close()); err != nil {
		return fsx.DiskError("unpack", err)
	}
	emit(event{Summary: &s})
	return nil
}

// unpack unpacks the frames of in into t, and closes t.
func (spec unpackSpec) unpack(in io.Reader, t tree, report api.Report) (s summary, err error) {
	if host, ok := t.(*hostTree); ok {
		host.s, host.layered = &s, spec.Layered
	}
	u := unpacker{tree: t, limits: spec.Limits, s: &s}
	err = spec.archives(&u, bufio.NewReaderSize(in, maxPiece), report)
	for _, name := range spec.Volumes {
		if err == nil {
			err = u.wrap(name, t.ensure(name))
		}
	}
	if closeErr := t.close(); err == nil && closeErr != nil {
		err = u.wrap(".", closeErr)
	}
	if err == nil {
		s.NoShell = !t.exists("bin/sh")
	}
	return s, err
}

// archives unpacks the archives one after the other.
func (spec unpackSpec) archives(u *unpacker, stream *bufio.Reader, report api.Report) error {
	var before int64
	for i, want := range spec.DiffIDs {
		c := &counter{r: &frameReader{r: stream}, report: func(done int64) {
			report(api.Progress{Step: "image", Message: spec.message(i), Done: before + done, Total: spec.Total, Unit: "bytes"})
		}}
		if spec.Layered {
			u.layer = newLayer()
		}
		got, err := u.archive(c)
		if err == nil { // the blob's end confirms that it was verified
			_, err = io.Copy(io.Discard, c)
		}
		if err == nil && want != "" && got != want {
			err = api.Errorf(api.KindInvalid, "it contains an archive with digest %s, not its diff id %s", got, want)
		}
		if err != nil {
			return spec.named(i, err)
		}
		before += c.n.Load()
	}
	if u.s.Entries == 0 && !spec.Layered {
		return api.Errorf(api.KindInvalid, "the archive is empty, or not a tar archive")
	}
	return nil
}

func (spec unpackSpec) message(i int) string {
	if !spec.Layered {
		return "unpacking"
	}
	return fmt.Sprintf("unpacking layer %d of %d", i+1, len(spec.DiffIDs))
}

// named adds to an error in which layer it is.
func (spec unpackSpec) named(i int, err error) error {
	if !spec.Layered {
		return err
	}
	return api.Errorf(api.KindOf(err), "layer %d of %d: %w", i+1, len(spec.DiffIDs), err)
}

// counter reports how many bytes were read, at most ten times a second.
type counter struct {
	r      io.Reader
	report func(int64)
	n      atomic.Int64
	last   time.Time
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if now := time.Now(); now.Sub(c.last) > 100*time.Millisecond {
		c.last = now
		c.report(c.n.Load())
	}
	return n, err
}
