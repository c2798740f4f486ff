package registrytest

import (
	"net/http"
	"strings"
	"sync/atomic"
)

// Blobs limits a fault to layers and configurations.
func Blobs(f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// Answer answers with a status; header is name, value, name, value …
func Answer(status int, body string, header ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// Cut cuts the connection after n bytes of a body, the given number of times.
func Cut(n int64, times int32) Fault {
	var cuts atomic.Int32
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n, cut: func() bool { return cuts.Add(1) <= times }, then: func() {}}, r)
	}
}

// cutter passes on a limited number of bytes.
type cutter struct {
	http.ResponseWriter
	left int64
	cut  func() bool // reports whether to cut
	then func()      // before the connection is cut
}

// Write implements http.ResponseWriter.
func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left || !c.cut() {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	c.ResponseWriter.(http.Flusher).Flush()
	c.then()
	panic(http.ErrAbortHandler)
}

// NoRange makes a registry ignore range requests.
func NoRange(f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		f(w, r, next)
	}
}

// Hang sends n bytes of a body and then nothing, until the client goes away.
func Hang(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		always := func() bool { return true }
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n, cut: always, then: func() { <-r.Context().Done() }}, r)
	}
}
