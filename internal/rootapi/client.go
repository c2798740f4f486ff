package rootapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Client sends requests to the helper. It is safe for concurrent use.
type Client struct {
	Socket  string
	Version string // of this program
	// Patience bounds the wait for a helper that is being restarted.
	Patience time.Duration

	limit time.Duration // replaces callTime in a test
}

// callTime bounds one request, even if the context allows more: the longest, starting a VMM on
// a busy host, takes seconds.
const callTime = 90 * time.Second

// Do sends one request and reads its answer into answer, which may be nil. If the helper ends
// during the request, or is not running, Do asks again: every verb is idempotent. The caller
// owns the files that come with the answer.
func (c *Client) Do(ctx context.Context, call Call, answer any, files ...*os.File) ([]*os.File, error) {
	if err := call.Validate(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	request := Request{Protocol: protocol, Version: c.Version, Verb: call.Verb(), Body: body}
	// The start of the wait for a helper that is not running: when it was last seen.
	missed := time.Time{}
	for deaths := 0; ; {
		got, met, err := c.once(ctx, request, answer, files)
		if err == nil || !isGone(err) {
			return got, err
		}
		// It ended during this request, which must not be repeated forever.
		if met {
			deaths, missed = deaths+1, time.Time{}
		}
		if missed.IsZero() {
			missed = time.Now()
		}
		if deaths >= maxDeaths || time.Since(missed) >= c.Patience {
			return nil, absent(err)
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return nil, c.broken(ctx, call.Verb(), err)
		}
	}
}

const (
	// retryPause is the pause between two tries to reach a helper that is not running. systemd
	// restarts it within a fraction of a second (RestartSec of its unit).
	retryPause = 20 * time.Millisecond
	// maxDeaths is how often the helper may end during one request.
	maxDeaths = 3
)

func absent(err error) error {
	return api.Errorf(api.KindTimeout, "bangerd-root does not answer: %w", err).
		WithHint("sudo systemctl status bangerd-root; sudo systemctl start bangerd-root   (guests keep running)")
}

// once asks once. met reports that a helper was reached.
func (c *Client) once(ctx context.Context, request Request, answer any, files []*os.File) (got []*os.File, met bool, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, false, c.broken(ctx, request.Verb, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(c.callTime()))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := Send(conn, request, files); err != nil {
		return nil, true, c.broken(ctx, request.Verb, err)
	}
	response, got, err := ReadResponse(conn)
	if err != nil {
		return nil, true, c.broken(ctx, request.Verb, err)
	}
	if err := c.judge(response, answer); err != nil {
		CloseAll(got)
		return nil, true, err
	}
	return got, true, nil
}

func (c *Client) callTime() time.Duration { return cmp.Or(c.limit, callTime) }

func (c *Client) dial(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", c.Socket)
	if err != nil {
		if errors.Is(err, unix.EACCES) {
			return nil, api.Errorf(api.KindDenied, "cannot ask bangerd-root: %w", err).WithHint("only the owner of this installation may do this; see: banger system status")
		}
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

func (c *Client) broken(ctx context.Context, verb Verb, err error) error {
	switch {
	case ctx.Err() != nil:
		return api.Errorf(api.KindCanceled, "cannot ask bangerd-root for %s: %w", verb, context.Cause(ctx))
	case errors.Is(err, context.DeadlineExceeded): // a net.Dialer may notice before ctx does
		return api.Errorf(api.KindCanceled, "cannot ask bangerd-root for %s: %w", verb, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return api.Errorf(api.KindTimeout, "bangerd-root did not answer %s within %s", verb, c.callTime())
	}
	return err
}

// OtherProtocol is the error of a helper with another version of the contract. It answers
// nevertheless, with its version.
type OtherProtocol struct {
	Helper string // its version
	error
}

func (e *OtherProtocol) Unwrap() error { return e.error }

func (c *Client) judge(r Response, answer any) error {
	if r.Protocol != protocol {
		return &OtherProtocol{Helper: r.Version, error: mismatch(r.Version, c.Version)}
	}
	if r.Error != nil {
		return r.Error
	}
	if answer == nil {
		return nil
	}
	// Unknown fields of a newer helper are not an error: it is the one with the privileges.
	if err := json.Unmarshal(r.Body, answer); err != nil {
		return api.Errorf(api.KindInternal, "cannot read the answer of bangerd-root: %w", err)
	}
	return nil
}
