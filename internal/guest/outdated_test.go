package guest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/guest/manifest"
	"banger/internal/guest/stdio"
	"banger/internal/treewatch"
)

// TestOlderAgent: what an agent of an older banger does not know is an error that says
// so, and what to type. To such an agent a newer request is a message that names
// nothing it knows.
func TestOlderAgent(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := connect(t, startAgent(t, agent.Options{Root: root, BootID: "b1"}))
	wait := func(s *guest.Session, err error) error {
		if err == nil {
			_, _, _, err = result(t, s)
		}
		return err
	}
	for kind, use := range map[string]func(context.Context, *guest.Client) error{
		"copy_in": func(ctx context.Context, c *guest.Client) error {
			return c.CopyIn(ctx, file, "/new", guest.CopyOptions{})
		},
		"copy_out": func(ctx context.Context, c *guest.Client) error {
			return c.CopyOut(ctx, "/file", filepath.Join(t.TempDir(), "new"), guest.CopyOptions{})
		},
		"stat": func(ctx context.Context, c *guest.Client) error {
			return c.CopyOut(ctx, "/file", filepath.Join(t.TempDir(), "new"), guest.CopyOptions{})
		},
		"get": func(ctx context.Context, c *guest.Client) error {
			_, err := c.Get(ctx, "/file", nil)
			return err
		},
		"put": func(ctx context.Context, c *guest.Client) error {
			return c.Put(ctx, "/", strings.NewReader(""), nil)
		},
		"tree": func(ctx context.Context, c *guest.Client) error {
			return c.Tree(ctx, "/", manifest.Options{}, func(manifest.Entry) error { return nil })
		},
		"fetch": func(ctx context.Context, c *guest.Client) error {
			return c.Fetch(ctx, "/", []string{"file"}, func(manifest.Fetched) error { return nil })
		},
		"place": func(ctx context.Context, c *guest.Client) error {
			return c.PlaceFiles(ctx, "/", toFiles("x", "new"), func(manifest.Placed) error { return nil })
		},
		"watch": func(ctx context.Context, c *guest.Client) error {
			return c.Watch(ctx, "/", treewatch.Options{}, func(treewatch.Event) error { return nil })
		},
		"ssh":  func(ctx context.Context, c *guest.Client) error { return wait(c.SSH(ctx, make([]byte, 32))) },
		"list": func(ctx context.Context, c *guest.Client) error { _, err := c.Sessions(ctx); return err },
		"start": func(ctx context.Context, c *guest.Client) error {
			_, _, err := c.Start(ctx, api.Exec{Argv: []string{"true"}}, nil)
			return err
		},
		"attach": func(ctx context.Context, c *guest.Client) error { return wait(c.Attach(ctx, "abcd", 0, 0)) },
		"leave":  func(ctx context.Context, c *guest.Client) error { return c.Leave(ctx, "abcd", nil) },
		"ports":  func(ctx context.Context, c *guest.Client) error { _, err := c.Ports(ctx); return err },
		"connect": func(ctx context.Context, c *guest.Client) error {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			return c.Connect(ctx, ours, stdio.Endpoint{Network: "tcp", Address: "127.0.0.1:1"})
		},
		"listen": func(ctx context.Context, c *guest.Client) error {
			_, err := c.Listen(ctx, stdio.Endpoint{Network: "tcp", Address: "127.0.0.1:0"})
			return err
		},
	} {
		t.Run(kind, func(t *testing.T) {
			var known atomic.Bool
			client := &guest.Client{VM: func() string { return "dev" }, Dial: func(ctx context.Context) (net.Conn, error) {
				conn, err := link.Open(ctx)
				return &unknowing{Conn: conn, kind: kind, met: &known}, err
			}}
			err := use(t.Context(), client)
			if !known.Load() {
				t.Fatalf("no request of that kind was made; got %v", err)
			}
			e := api.AsError(err)
			if err == nil || e.Kind != api.KindUnsupported || !strings.Contains(e.Message, "the agent of an older banger until it is restarted") ||
				!strings.HasPrefix(e.Hint, "banger vm restart dev ") {
				t.Errorf("got %v, hint %q", err, e.Hint)
			}
		})
	}
}

// unknowing has the agent at its other end not know a kind of request.
type unknowing struct {
	net.Conn
	kind string
	met  *atomic.Bool
}

// Write implements io.Writer.
func (u *unknowing) Write(p []byte) (int, error) {
	name := []byte(`{"` + u.kind + `":`)
	if bytes.Contains(p, name) {
		u.met.Store(true)
		other := bytes.Replace(name, []byte(u.kind), bytes.Repeat([]byte("?"), len(u.kind)), 1)
		p = bytes.Replace(p, name, other, 1)
	}
	return u.Conn.Write(p)
}

// CloseWrite ends our half of the channel.
func (u *unknowing) CloseWrite() error {
	if half, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}
