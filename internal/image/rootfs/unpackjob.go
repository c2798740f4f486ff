package rootfs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/tarball"
)

// errIsImage means that an archive turned out to be an image while it was unpacked as a
// root file system.
var errIsImage = errors.New("it is an image")

// Spec describes what to unpack.
type Spec struct {
	// Layered makes the archives layers of an image: each may delete files of the ones
	// before it.
	Layered bool           `json:"layered,omitempty"`
	Limits  tarball.Limits `json:"limits"`
	// Volumes are directories that are created if the archives do not contain them.
	Volumes []string `json:"volumes,omitempty"`

	// Unpack sets these for its job: bytes in all archives, for the progress, or 0 if
	// unknown; and the archives' digests before compression, "" if unknown.
	Total   int64    `json:"total"`
	DiffIDs []string `json:"diff_ids"`
}

// runUnpack unpacks the archives that are sent as frames on standard input into the
// directory args[0], with the spec args[1]. It writes the deferred attributes to the
// file args[2].
func runUnpack(_ context.Context, args []string, emit func(any)) error {
	var spec Spec
	if err := json.Unmarshal([]byte(args[1]), &spec); err != nil {
		return err
	}
	deferred, err := os.OpenFile(args[2], os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fsx.DiskError("unpack", err)
	}
	defer deferred.Close()
	if err := Enter(args[0]); err != nil {
		return err
	}
	t, err := newHostTree("/")
	if err != nil {
		return err
	}
	s, err := spec.unpack(os.Stdin, t, func(p api.Progress) { emit(Event{Progress: &p}) })
	if errors.Is(err, errIsImage) {
		emit(Event{Summary: &Summary{IsImage: true}})
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(t.pending.write(deferred), deferred.Close()); err != nil {
		return fsx.DiskError("unpack", err)
	}
	emit(Event{Summary: &s})
	return nil
}

// target is a tree, and what is done with it after the last archive.
type target interface {
	tree
	// ensure makes a directory if nothing is there.
	ensure(name string) error
	exists(name string) bool
	// close finishes deferred work.
	close() error
}

// unpack unpacks the frames of in into t, and closes t.
func (spec Spec) unpack(in io.Reader, t target, report api.Report) (s Summary, err error) {
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
func (spec Spec) archives(u *unpacker, stream *bufio.Reader, report api.Report) error {
	var before int64
	for i, want := range spec.DiffIDs {
		c := tarball.NewCounter(&frameReader{r: stream}, func(done int64) {
			report(api.Progress{Step: "image", Message: spec.message(i), Done: before + done, Total: spec.Total, Unit: "bytes"})
		})
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
		before += c.Bytes()
	}
	if u.s.Entries == 0 && !spec.Layered {
		return api.Errorf(api.KindInvalid, "the archive is empty, or not a tar archive")
	}
	return nil
}

func (spec Spec) message(i int) string {
	if !spec.Layered {
		return "unpacking"
	}
	return fmt.Sprintf("unpacking layer %d of %d", i+1, len(spec.DiffIDs))
}

// named adds to an error in which layer it is.
func (spec Spec) named(i int, err error) error {
	if !spec.Layered {
		return err
	}
	return api.Errorf(api.KindOf(err), "layer %d of %d: %w", i+1, len(spec.DiffIDs), err)
}
