// Package fcapi is a client of the API of a running Firecracker: HTTP over a Unix socket
// (src/firecracker/swagger/firecracker.yaml). The other end may be a Firecracker that its guest
// has taken over, so every reply is bounded in size and time, and is treated as untrusted text.
package fcapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"banger/api"
)

const (
	// maxReply bounds a reply, head and body together, in bytes. The longest one has some
	// hundred bytes.
	maxReply = 64 << 10
	// maxText bounds the quoted part of a reply, in bytes.
	maxText = 300
	// patience bounds a request if the caller sets no limit. The requests take milliseconds.
	patience = 10 * time.Second
)

// Dial connects to the API socket.
type Dial func(ctx context.Context) (net.Conn, error)

// Client sends requests to one Firecracker, each on a new connection.
type Client struct{ dial Dial }

// New returns a client of the Firecracker that dial connects to.
func New(dial Dial) *Client { return &Client{dial} }

// The states of a machine.
const (
	NotStarted = "Not started"
	Running    = "Running"
	Paused     = "Paused"
)

// Info is Firecracker's description of itself.
type Info struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Version string `json:"vmm_version"`
	App     string `json:"app_name"`
}

// Info requests the state of the machine.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.ask(ctx, "ask for the machine's state", http.MethodGet, "/", nil, &info)
	return info, err
}

// Version requests Firecracker's version.
func (c *Client) Version(ctx context.Context) (string, error) {
	var answer struct {
		Version string `json:"firecracker_version"`
	}
	err := c.ask(ctx, "ask for Firecracker's version", http.MethodGet, "/version", nil, &answer)
	return answer.Version, err
}

// Pause stops the machine's processors.
func (c *Client) Pause(ctx context.Context) error {
	return c.ask(ctx, "pause the machine", http.MethodPatch, "/vm", map[string]string{"state": Paused}, nil)
}

// Resume continues a paused machine.
func (c *Client) Resume(ctx context.Context) error {
	return c.ask(ctx, "resume the machine", http.MethodPatch, "/vm", map[string]string{"state": "Resumed"}, nil)
}

// ask makes one request. what names it in errors: "cannot " + what.
func (c *Client) ask(ctx context.Context, what, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.exchange(ctx, method, path, body, into)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return api.Errorf(api.KindTimeout, "cannot %s: Firecracker does not answer: %w", what, err)
	case ctx.Err() != nil:
		return api.Errorf(api.KindCanceled, "cannot %s: %w", what, context.Cause(ctx))
	}
	return api.Errorf(api.KindOf(err), "cannot %s: %w", what, err)
}

func (c *Client) exchange(ctx context.Context, method, path string, body, into any) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req, err := request(ctx, method, path, body)
	if err != nil {
		return err
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	return reply(conn, req, into)
}

func request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, content)
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// reply reads the answer to req into a value, which may be nil.
func reply(r io.Reader, req *http.Request, into any) error {
	limited := &io.LimitedReader{R: r, N: maxReply}
	resp, err := http.ReadResponse(bufio.NewReader(limited), req)
	var data []byte
	if err == nil {
		defer resp.Body.Close()
		data, err = io.ReadAll(resp.Body)
	}
	switch {
	case limited.N == 0:
		return api.Errorf(api.KindInternal, "Firecracker's answer is longer than %d KiB", maxReply>>10)
	case err != nil:
		return api.Errorf(api.KindInternal, "Firecracker's answer cannot be read: %s", text(err.Error()))
	case resp.StatusCode/100 != 2:
		return fault(resp.StatusCode, data)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return api.Errorf(api.KindInternal, "Firecracker's answer %q is not understood: %s", text(string(data)), text(err.Error()))
	}
	return nil
}

// fault reads Firecracker's error for a refused request.
func fault(status int, data []byte) error {
	var f struct {
		Message string `json:"fault_message"`
	}
	if err := json.Unmarshal(data, &f); err != nil || f.Message == "" {
		f.Message = string(data)
	}
	return api.Errorf(api.KindConflict, "Firecracker refuses with status %d: %s", status, text(f.Message))
}

// text makes untrusted text safe for a terminal.
func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
}
