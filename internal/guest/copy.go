package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"

	"banger/api"
	"banger/internal/guest/stdio"
)

// Stat describes a path in the guest, and follows symbolic links. If the path does not
// exist, the error is of kind not_found.
func (c *Client) Stat(ctx context.Context, path string) (stdio.Stat, error) {
	s, err := c.open(ctx, stdio.Open{Stat: &stdio.Copy{Path: path}})
	if err != nil {
		return stdio.Stat{}, err
	}
	defer s.Close()
	if _, err := s.Wait(ctx); err != nil {
		return stdio.Stat{}, err
	}
	if s.exit.Stat == nil {
		return stdio.Stat{}, api.Errorf(api.KindInternal, "the guest's agent answered without the status of %s", path)
	}
	return *s.exit.Stat, nil
}

// Put unpacks a tar stream beneath the directory path in the guest. warnings, unless nil,
// receives a line for each entry that was skipped.
func (c *Client) Put(ctx context.Context, path string, tar io.Reader, warnings io.Writer) error {
	s, err := c.open(ctx, stdio.Open{Put: &stdio.Copy{Path: path}})
	if err != nil {
		return err
	}
	defer s.Close()
	s.work.Go(func() { copyWarnings(warnings, s.Stderr) })
	_, err = io.Copy(s.Stdin, tar)
	if err == nil {
		err = s.Stdin.Close()
	}
	if errors.Is(err, io.ErrClosedPipe) {
		err = nil // the agent has ended the session: Wait returns why
	}
	if err != nil {
		return err
	}
	_, err = s.Wait(ctx)
	return err
}

// Get returns a path in the guest as a tar stream, whose names begin with the path's last
// element. A later failure is the stream's error, instead of io.EOF.
func (c *Client) Get(ctx context.Context, path string, warnings io.Writer) (io.ReadCloser, error) {
	s, err := c.open(ctx, stdio.Open{Get: &stdio.Copy{Path: path}})
	if err != nil {
		return nil, err
	}
	s.work.Go(func() { copyWarnings(warnings, s.Stderr) })
	g := &getter{ctx: ctx, session: s, first: make([]byte, 512)} // a tar block
	n, err := io.ReadFull(s.Stdout, g.first)
	g.first = g.first[:n]
	if err != nil {
		defer s.Close()
		if _, err := s.Wait(ctx); err != nil {
			return nil, err
		}
		return nil, api.Errorf(api.KindInternal, "the guest's agent sent no tar stream for %s", path)
	}
	return g, nil
}

type getter struct {
	ctx     context.Context
	session *Session
	first   []byte
}

// Read reads the tar stream.
func (g *getter) Read(p []byte) (int, error) {
	if len(g.first) > 0 {
		n := copy(p, g.first)
		g.first = g.first[n:]
		return n, nil
	}
	n, err := g.session.Stdout.Read(p)
	if errors.Is(err, io.EOF) {
		if _, failed := g.session.Wait(g.ctx); failed != nil {
			err = failed
		}
	}
	return n, err
}

// Close ends the copy.
func (g *getter) Close() error { return g.session.Close() }

// copyWarnings copies the guest's messages, without control characters.
func copyWarnings(to io.Writer, from io.Reader) {
	if to == nil {
		to = io.Discard
	}
	_, _ = io.Copy(plainWriter{to}, from)
}

type plainWriter struct{ io.Writer }

func (w plainWriter) Write(p []byte) (int, error) {
	plain := bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, p)
	if _, err := w.Writer.Write(plain); err != nil {
		return 0, err
	}
	return len(p), nil
}

// isMissing reports whether err is about a file, not a VM, that does not exist.
func isMissing(err error) bool {
	var unreachable *unreachableError
	if errors.As(err, &unreachable) {
		return false
	}
	return api.KindOf(err) == api.KindNotFound || errors.Is(err, fs.ErrNotExist)
}
