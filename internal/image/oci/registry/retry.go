package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// tries is how often a request is tried whose failure may be temporary: a broken
// connection, or a registry or token server that is being restarted.
const tries = 3

// firstPause is the time before the second try; a variable only for tests.
var firstPause = 500 * time.Millisecond

// longestWait is the longest wait that a registry may ask for. GitHub and others ask
// for less than a second, Docker Hub for hours.
const longestWait = 10 * time.Second

// retry calls do until it succeeds, or fails permanently.
func retry(ctx context.Context, do func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := do()
		wait, again := worthwhile(err, pause)
		if !again || try == tries || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
		pause *= 2
	}
}

// worthwhile reports whether to try again after an error, and when.
func worthwhile(err error, pause time.Duration) (time.Duration, bool) {
	var limit limitError
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &limit):
		// Clients that got the same answer must not all retry at once.
		return limit.after + rand.N(100*time.Millisecond), limit.after > 0 && limit.after <= longestWait
	}
	return pause, temporary(err) && !unreached(err) && !errors.Is(err, errStalled)
}

// dialer connects to registries. Names below localhost are this machine's, whatever a
// resolver or /etc/hosts says: passwords are sent to them unencrypted.
type dialer struct{ net.Dialer }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !localName(host) {
		return d.DialContext(ctx, network, address)
	}
	conn, err := d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		if six, e := d.DialContext(ctx, network, net.JoinHostPort("::1", port)); e == nil {
			return six, nil
		}
	}
	return conn, err
}

// httpError is the error of an unencrypted request to this machine.
type httpError struct{ error }

func (e httpError) Unwrap() error { return e.error }

// isRoot reports whether a request is the one that finds out a registry's protocol and
// authentication.
func isRoot(req *http.Request) bool { return req.Method == http.MethodGet && req.URL.Path == "/v2/" }
