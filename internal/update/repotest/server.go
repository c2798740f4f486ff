package repotest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// Server serves a repository's directory, and misbehaves on request.
type Server struct {
	*httptest.Server
	Handler *Handler
}

// Serve serves dir on this machine until Close.
func Serve(dir string) *Server {
	h := &Handler{Files: http.FileServer(http.Dir(dir))}
	return &Server{Server: httptest.NewServer(h), Handler: h}
}

// Handler answers from Files, except for paths given to Misbehave.
type Handler struct {
	Files http.Handler

	mu    sync.Mutex
	rules map[string]http.HandlerFunc
}

// Misbehave makes do answer requests for paths that end in suffix.
func (h *Handler) Misbehave(suffix string, do http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rules == nil {
		h.rules = map[string]http.HandlerFunc{}
	}
	h.rules[suffix] = do
}

// Behave forgets every Misbehave.
func (h *Handler) Behave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) { h.choose(req.URL.Path)(w, req) }

func (h *Handler) choose(path string) http.HandlerFunc {
	h.mu.Lock()
	defer h.mu.Unlock()
	for suffix, do := range h.rules {
		if strings.HasSuffix(path, suffix) {
			return do
		}
	}
	return h.Files.ServeHTTP
}

// Stall accepts a request and never answers.
func Stall(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }

// StallAfter sends data of a longer answer and then nothing.
func StallAfter(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		send(w, data)
		<-req.Context().Done()
	}
}

// Drip sends one byte per interval, for ever.
func Drip(interval time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for send(w, []byte{' '}) {
			select {
			case <-tick.C:
			case <-req.Context().Done():
				return
			}
		}
	}
}

// Endless sends data, and then zeros without end.
func Endless(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for send(w, data) {
			data = make([]byte, 64<<10)
		}
	}
}

// Answer sends data.
func Answer(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { send(w, data) }
}

// Redirect sends the client to the same path below base.
func Redirect(base string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, base+req.URL.Path, http.StatusFound)
	}
}

// send reports whether the client still receives.
func send(w http.ResponseWriter, data []byte) bool {
	_, err := w.Write(data)
	return err == nil && http.NewResponseController(w).Flush() == nil
}
