package registry

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// guard checks all requests, those of redirects and to token servers included.
type guard struct{ next http.RoundTripper }

// RoundTrip refuses unencrypted requests to other machines, and converts the answer of
// a registry that limits requests to an error with the waiting time: callers do not see
// the headers.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !loopback(req.URL.Host) {
		return nil, plainError{req.URL.Host}
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil && req.URL.Scheme != "https" {
		return resp, httpError{err}
	}
	if err == nil && resp.StatusCode == http.StatusNotFound && isRoot(req) {
		// A web server of files has no such header: it needs no authentication, or will
		// ask for it.
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
		return resp, nil
	}
	if err != nil || resp.StatusCode != http.StatusTooManyRequests {
		return resp, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	resp.Body.Close()
	return nil, limitOf(resp.Header, time.Now())
}

// plainError is the error of a request that would not be encrypted.
type plainError struct{ host string }

func (e plainError) Error() string {
	return fmt.Sprintf("%s does not speak HTTPS, and plain HTTP is allowed to this machine only", e.host)
}

// limitError is the answer of a registry that limits requests.
type limitError struct {
	after  time.Duration // 0: unknown
	count  int           // requests in window; 0: unknown
	window time.Duration
}

// limitOf reads Retry-After (RFC 9110, section 10.2.3) and the headers
// RateLimit-Limit: 100;w=21600 and RateLimit-Reset
// (draft-ietf-httpapi-ratelimit-headers; Docker Hub has the first).
func limitOf(h http.Header, now time.Time) limitError {
	var e limitError
	e.after = seconds(h.Get("Retry-After"))
	if d, err := time.ParseDuration(h.Get("Retry-After")); err == nil && d > 0 { // GitHub's: 985µs
		e.after = d
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		e.after = max(0, at.Sub(now))
	}
	if e.after == 0 {
		e.after = seconds(h.Get("RateLimit-Reset"))
	}
	limit, rest, _ := strings.Cut(h.Get("RateLimit-Limit"), ";")
	count, err := strconv.Atoi(strings.TrimSpace(limit))
	window, ok := strings.CutPrefix(strings.TrimSpace(rest), "w=")
	if w := seconds(window); ok && err == nil && count > 0 && w > 0 {
		e.count, e.window = count, w
	}
	return e
}

// seconds parses a number of seconds, at most a year; invalid text is 0.
func seconds(text string) time.Duration {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 || n > 365*24*3600 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// Error says when to try again, if the registry sent it.
func (e limitError) Error() string {
	text := "too many requests"
	if e.count > 0 {
		text += fmt.Sprintf(" (it allows %d requests in %s)", e.count, span(e.window))
	}
	if e.after > 0 && e.after < time.Second {
		return text + "; try again in a second"
	}
	if e.after > 0 {
		return text + "; try again in " + span(e.after)
	}
	if e.window > 0 {
		return text + "; try again within " + span(e.window)
	}
	return text + "; it does not say when to try again"
}

// span formats a duration: 90m0s is "1h30m".
func span(d time.Duration) string {
	text := d.Round(time.Second).String()
	if cut, ok := strings.CutSuffix(text, "m0s"); ok {
		text = cut + "m"
	}
	if cut, ok := strings.CutSuffix(text, "h0m"); ok {
		text = cut + "h"
	}
	return text
}
