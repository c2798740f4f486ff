package client

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"banger/api"
)

func ignore(api.Progress) {}

// exporting answers with the beginning of 100 bytes.
func exporting(said string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set(api.LeftOutHeader, "2")
		_, _ = w.Write([]byte(said))
		_ = http.NewResponseController(w).Flush()
		if strings.Contains(r.URL.RawQuery, "tar") {
			<-r.Context().Done() // until the client leaves
		}
		panic(http.ErrAbortHandler)
	})
}

func TestExportImage(t *testing.T) {
	whole := strings.Repeat("x", 100)
	var b bytes.Buffer
	var last api.Progress
	left, err := serve(t, exporting(whole)).Images().Export(t.Context(), "a/b:1", api.ExportOCI, &b, func(p api.Progress) { last = p })
	if err != nil || left != 2 || b.String() != whole || last.Done != 100 || last.Total != 100 {
		t.Errorf("got %q, %d, %v; told %+v", b.String(), left, err, last)
	}
}

// TestExportThatBreaksOff is never taken for a whole one.
func TestExportThatBreaksOff(t *testing.T) {
	for _, said := range []string{"", "some", strings.Repeat("x", 99)} {
		_, err := serve(t, exporting(said)).Images().Export(t.Context(), "a", api.ExportOCI, &bytes.Buffer{}, ignore)
		if err == nil || !strings.Contains(err.Error(), "the daemon went away") {
			t.Errorf("%d bytes: %v", len(said), err)
		}
	}
	unsaid := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("x"))
		_ = http.NewResponseController(w).Flush()
	})
	if _, err := serve(t, unsaid).Images().Export(t.Context(), "a", api.ExportOCI, &bytes.Buffer{}, ignore); err == nil {
		t.Error("an answer without a length was taken for a whole one")
	}
}

// full is a disk with no room.
type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestExportThatIsGivenUp(t *testing.T) {
	c := serve(t, exporting("some"))
	if _, err := c.Images().Export(t.Context(), "a", api.ExportOCI, full{}, ignore); !errors.Is(err, errFull) || api.KindOf(err) != api.KindInternal {
		t.Errorf("a full disk: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := c.Images().Export(ctx, "a", api.ExportTar, &bytes.Buffer{}, func(api.Progress) { cancel(errors.New("a signal")) })
	if api.KindOf(err) != api.KindCanceled {
		t.Errorf("given up: %v", err)
	}
}
