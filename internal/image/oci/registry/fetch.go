package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"banger/api"
	"banger/internal/image/oci"
	"banger/internal/image/oci/blobs"
)

// parallel is how many layers are downloaded at once: as many as by Docker's daemon
// (dockerd(8), max-concurrent-downloads).
const parallel = 3

// Fetch downloads the configuration and the layers that are not in the cache. The
// layers are not pruned until release is called.
func (f *Found) Fetch(ctx context.Context, report api.Report) (image oci.Image, release func(), err error) {
	var digests []string
	for _, l := range f.manifest.Layers {
		digests = append(digests, l.Digest.String())
	}
	release = f.client.o.Blobs.Hold(digests...)
	config := f.manifest.Config
	raw, _, err := f.session.document(ctx, "/blobs/"+config.Digest.String(), config.Digest.String(), config.Size)
	if err == nil {
		image, err = f.image(raw)
	}
	if err == nil {
		err = f.layers(ctx, report)
	}
	if err != nil {
		release()
		return oci.Image{}, nil, explain(ctx, f.session.ref, f.session.login, err)
	}
	return image, release, nil
}

// image assembles the image from manifest and configuration.
func (f *Found) image(config []byte) (oci.Image, error) {
	image, err := oci.Assemble(f.raw, config, func(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		return f.client.o.Blobs.Open(d.Digest.String())
	})
	image.Ref = f.session.ref.String()
	if err == nil {
		err = image.Fits(runtime.GOARCH)
	}
	return image, err
}

// layers downloads the missing layers, a few at once. The first failure stops the
// others.
func (f *Found) layers(ctx context.Context, report api.Report) error {
	all := distinct(f.manifest.Layers)
	store := f.client.o.Blobs
	t := &tally{report: report, message: "downloading " + f.session.ref.Familiar(), done: map[string]int64{}}
	var missing int64
	for _, b := range all {
		n := store.Missing(b)
		missing += n
		t.done[b.Digest] = b.Size - n
		t.total += b.Size
	}
	if err := store.NeedSpace(missing); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	turns := make(chan struct{}, parallel)
	var wait sync.WaitGroup
	for _, b := range all {
		turns <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wait.Go(func() {
			defer func() { <-turns }()
			err := store.Get(ctx, b, f.session.source(b), func(p api.Progress) { t.tell(b.Digest, p.Done) })
			if err != nil {
				cancel(err)
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// distinct returns the blobs of layers without duplicates.
func distinct(layers []v1.Descriptor) []blobs.Blob {
	var all []blobs.Blob
	seen := map[string]bool{}
	for _, l := range layers {
		if d := l.Digest.String(); !seen[d] {
			seen[d] = true
			all = append(all, blobs.Blob{Digest: d, Size: l.Size})
		}
	}
	return all
}

// tally adds up the progress of the layers.
type tally struct {
	report  api.Report
	message string
	total   int64

	mu   sync.Mutex
	done map[string]int64
	last time.Time
}

// tellEvery is how often progress is reported.
const tellEvery = 100 * time.Millisecond

func (t *tally) tell(digest string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done[digest] = n
	var sum int64
	for _, n := range t.done {
		sum += n
	}
	if now := time.Now(); sum == t.total || now.Sub(t.last) >= tellEvery {
		t.last = now
		t.report(api.Progress{Step: "image", Message: t.message, Done: sum, Total: t.total, Unit: "bytes"})
	}
}

// source returns a function that opens a layer in the registry.
func (s *session) source(b blobs.Blob) blobs.Source {
	return func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		var body io.ReadCloser
		var from int64
		err := retryAfterWait(ctx, func() (err error) {
			body, from, err = s.open(ctx, b, offset)
			return err
		})
		var answer *transport.Error
		if offset > 0 && errors.As(err, &answer) && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			body, from, err = s.open(ctx, b, 0)
		}
		if err != nil {
			return nil, 0, mark(err)
		}
		return &layerBody{body}, from, nil
	}
}

// retryAfterWait calls do again if the registry asks for a short wait; other errors are
// returned.
func retryAfterWait(ctx context.Context, do func() error) error {
	var last error
	err := retry(ctx, func() error {
		last = do()
		if errors.As(last, new(limitError)) {
			return last
		}
		return nil
	})
	if err == nil {
		err = last
	}
	return err
}

func (s *session) open(ctx context.Context, b blobs.Blob, offset int64) (io.ReadCloser, int64, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, b.Size-1))
	}
	resp, err := s.get(ctx, "/blobs/"+b.Digest, header)
	if err != nil {
		return nil, 0, err
	}
	from, size := int64(0), resp.ContentLength
	err = transport.CheckError(resp, http.StatusOK, http.StatusPartialContent)
	if err == nil && resp.StatusCode == http.StatusPartialContent {
		from, size, err = contentRange(resp.Header.Get("Content-Range"))
	}
	if err == nil && size >= 0 && size != b.Size {
		err = invalid("its manifest is wrong: layer %s has %d bytes, not %d", b.Digest, size, b.Size)
	}
	if err != nil {
		resp.Body.Close()
		return nil, 0, err
	}
	return resp.Body, from, nil
}

// contentRange parses "bytes 5-9/10" (RFC 9110, section 14.4): the offset and the total
// length, -1 if that is unknown.
func contentRange(text string) (from, size int64, err error) {
	bytes, whole, _ := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, _, _ := strings.Cut(bytes, "-")
	if from, err = strconv.ParseInt(first, 10, 64); err == nil && whole != "*" {
		size, err = strconv.ParseInt(whole, 10, 64)
	} else {
		size = -1
	}
	if err != nil || from < 0 {
		return 0, 0, api.Errorf(api.KindInternal, "the registry sent a part of a layer without its position: %.80q", text)
	}
	return from, size, nil
}

// mark marks errors that may be over soon as temporary, such as a registry that is
// being restarted.
func mark(err error) error {
	if temporary(err) {
		return blobs.Temporary{Err: err}
	}
	return err
}

// layerBody marks the errors of a broken connection.
type layerBody struct{ io.ReadCloser }

// Read implements io.Reader.
func (b *layerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = mark(err)
	}
	return n, err
}
