package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"banger/api"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://example.com/a":       "",
		"http://localhost:1/a":        "",
		"http://127.0.0.1/a":          "",
		"http://[::1]:8080/a":         "",
		"http://example.com/a":        "plain http is allowed to this machine only",
		"http://127.0.0.1.nip.io/":    "plain http",
		"ftp://example.com":           "it does not start with https or http",
		"https://me@example.com/":     "user names",
		"https://example.com/?a=b":    "queries",
		"https://example.com/#a":      "fragments",
		"example.com":                 "it is not a valid URL",
		"https:":                      "it is not a valid URL",
		"mailto:somebody@example.com": "it is not a valid URL",
	} {
		u, err := ParseURL(text)
		if want == "" && (err != nil || u.String() != text) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v, want %q", text, u, err, want)
		}
	}
}

// TestGivenUp: an answer that ended because the request was given up is no whole one.
func TestGivenUp(t *testing.T) {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
		ctx, cancel := context.WithCancel(t.Context())
		w := &watch{ctx: ctx, from: io.MultiReader(strings.NewReader("x"), ends{end}), progress: func() {}}
		cancel()
		if data, err := io.ReadAll(w); !errors.Is(err, context.Canceled) {
			t.Errorf("%q, %v", data, err)
		}
	}
}

type ends struct{ err error }

func (e ends) Read([]byte) (int, error) { return 0, e.err }

func TestResolve(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/latest":
			http.Redirect(w, req, "/moved", http.StatusMovedPermanently)
		case "/moved":
			http.Redirect(w, req, "/tag/1", http.StatusFound)
		case "/page":
		default:
			t.Errorf("%s was asked for", req.URL.Path)
			http.NotFound(w, req)
		}
	}))
	defer server.Close()
	refused := api.Errorf(api.KindDenied, "not there")
	found := func(u *url.URL) bool { return strings.HasPrefix(u.Path, "/tag/") }
	anywhere := New(Options{Redirect: func(*http.Request, []*http.Request) error { return nil }})
	if u, err := anywhere.Resolve(t.Context(), server.URL+"/latest", found); err != nil || u == nil || u.Path != "/tag/1" {
		t.Errorf("%v, %v", u, err)
	}
	if u, err := anywhere.Resolve(t.Context(), server.URL+"/page", found); err != nil || u != nil {
		t.Errorf("a page that leads nowhere: %v, %v", u, err)
	}
	nowhere := New(Options{Redirect: func(*http.Request, []*http.Request) error { return refused }})
	if u, err := nowhere.Resolve(t.Context(), server.URL+"/latest", found); !errors.Is(err, refused) {
		t.Errorf("%v, %v", u, err)
	}
}

func TestBytes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "12345") }))
	defer server.Close()
	c := New(Options{Redirect: func(*http.Request, []*http.Request) error { return nil }})
	for limit, want := range map[int64]string{5: "12345", 100: "12345", 3: "1234"} {
		if data, err := c.Bytes(t.Context(), server.URL, limit); err != nil || string(data) != want {
			t.Errorf("limit %d: %q, %v", limit, data, err)
		}
	}
}
