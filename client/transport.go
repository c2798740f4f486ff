package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// transport makes the requests of a client.
type transport struct {
	dial func(context.Context) (net.Conn, error)
	http *http.Client
	log  string // of the daemon; may be empty

	// version is compared with the daemon's; mismatch, unless nil, is called once if they
	// differ.
	version  string
	mismatch func(daemon string)
	once     sync.Once
}

func newTransport(o Options) *transport {
	t := &transport{dial: o.Dial, log: o.Log, version: o.Version, mismatch: o.OnOtherVersion}
	if t.dial == nil {
		t.dial = func(ctx context.Context) (net.Conn, error) { return dial(ctx, o.Socket) }
	}
	t.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) },
		// A connection to a Unix socket takes some 50 µs, and a reused one is stale after a
		// restart of the daemon.
		DisableKeepAlives:  true,
		DisableCompression: true,
	}}
	return t
}

// dial connects to the daemon's socket.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := fsx.DialUnix(ctx, socket)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, os.ErrPermission):
		return nil, api.Errorf(api.KindDenied, "cannot reach the daemon: %w", err).
			WithHint("ls -ld %s   shows its owner", filepath.Dir(socket))
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ECONNREFUSED):
		return nil, api.Errorf(api.KindNotFound, "the daemon is not running: %w", err)
	}
	return nil, api.Errorf(api.KindInternal, "cannot reach the daemon: %w", err)
}

// at returns a path with further elements.
func at(path string, elements ...string) string {
	for _, e := range elements {
		path += "/" + url.PathEscape(e)
	}
	return path
}

// get requests path and decodes the answer into out.
func (t *transport) get(ctx context.Context, path string, out any) error {
	return t.do(ctx, http.MethodGet, path, nil, out)
}

// do sends in, unless nil, and decodes the answer into out, unless nil. If an answer is
// cut off, it repeats the request.
func (t *transport) do(ctx context.Context, method, path string, in, out any) error {
	key := newKey(method)
	for b := (breaks{}); ; {
		b.begin()
		err := t.exchange(ctx, method, path, in, out, key)
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || isBroken(err) || ctx.Err() != nil || b.tooMany() {
			return err
		}
	}
}

func (t *transport) exchange(ctx context.Context, method, path string, in, out any, key string) error {
	resp, err := t.send(ctx, method, path, in, key)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return api.Errorf(api.KindInternal, "cannot read the daemon's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// maxAnswer bounds one answer or event, in bytes: a list of a thousand VMs has about 1 MiB.
const maxAnswer = 64 << 20

// newKey makes the key of a request, or returns "" for a method that changes nothing.
func newKey(method string) string {
	if method == http.MethodGet {
		return ""
	}
	return rand.Text()
}

const (
	// retryTime bounds how long a request is repeated if daemons end during it, or if none
	// answers. A restart takes well under a second.
	retryTime = 15 * time.Second
	// The pauses between the tries grow from the first to the last.
	firstRetry, lastRetry = 10 * time.Millisecond, time.Second
)

// send makes a request and returns the answer if it is a success. If the daemon ends
// before it has answered, send repeats the request: it changes nothing, or has a key by
// which the daemon recognizes it.
func (t *transport) send(ctx context.Context, method, path string, in any, key string) (resp *http.Response, err error) {
	err = retry(ctx, func() (bool, error) {
		resp, err = t.sendOnce(ctx, method, path, in, key) //nolint:bodyclose // the caller closes it
		return isBroken(err) && cut(err) && (key != "" || method == http.MethodGet), err
	})
	return resp, err
}

// retry calls try for retryTime at most, as long as try returns that another try may help.
func retry(ctx context.Context, try func() (help bool, err error)) error {
	giveUp := time.Now().Add(retryTime)
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		help, err := try()
		if !help || time.Now().After(giveUp) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// sendOnce is send without a retry.
func (t *transport) sendOnce(ctx context.Context, method, path string, in any, key string) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot encode %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://banger"+path, body)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot make a request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set(api.KeyHeader, key)
	}
	resp, err := t.http.Do(req)
	if err != nil && ctx.Err() != nil { // the error is then the context's cause
		return nil, api.Errorf(canceledKind(ctx), "cancelled: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, transportError(err)
	}
	t.compare(resp.Header)
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	return resp, nil
}

func canceledKind(ctx context.Context) api.Kind {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return api.KindTimeout
	}
	return api.KindCanceled
}

// compare compares the daemon's version in an answer with the client's.
func (t *transport) compare(h http.Header) {
	if v := h.Get(api.VersionHeader); v != "" && t.mismatch != nil && v != t.version {
		t.once.Do(func() { t.mismatch(v) })
	}
}

// cut reports whether the daemon ended before it answered: the connection was made to one
// that was being killed. A request that changes nothing can be repeated.
func cut(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// transportError unwraps an error of net/http.
func transportError(err error) error {
	var known *api.Error
	if errors.As(err, &known) {
		return known
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.Canceled) {
		return api.Errorf(api.KindCanceled, "cancelled: %w", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return api.Errorf(api.KindTimeout, "the daemon did not answer in time: %w", err)
	}
	return &brokenError{err}
}

// brokenError is the error of a broken connection to the daemon.
type brokenError struct{ cause error }

func (e *brokenError) Error() string { return fmt.Sprintf("the daemon went away: %v", e.cause) }
func (e *brokenError) Unwrap() error { return e.cause }

// answerError returns the error in the daemon's answer.
func answerError(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var e api.Error
	if err := json.Unmarshal(data, &e); err != nil || e.Message == "" {
		return api.Errorf(api.KindInternal, "the daemon answered %s: %.200s", resp.Status, bytes.TrimSpace(data))
	}
	return &e
}
