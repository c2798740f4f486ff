package guest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"

	"banger/api"
	"banger/internal/guest/stdio"
)

// maxList bounds a guest's list of sessions, in bytes: a thousand sessions take a tenth.
const maxList = 8 << 20

// Sessions returns the sessions in the guest, oldest first.
func (c *Client) Sessions(ctx context.Context) ([]api.Session, error) {
	s, err := c.open(ctx, stdio.Open{List: &stdio.List{}})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var list []api.Session
	parseErr := json.NewDecoder(io.LimitReader(s.Stdout, maxList)).Decode(&list)
	if _, err := s.Wait(ctx); err != nil {
		return nil, err
	}
	if parseErr != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the guest's list of sessions: %w", parseErr)
	}
	return list, nil
}

// Start starts a command that continues without a client, and returns the id of its
// session. If it cannot be started, exit is its status, and the reason is written to errs.
func (c *Client) Start(ctx context.Context, exec api.Exec, errs io.Writer) (id string, exit Exit, err error) {
	s, err := c.open(ctx, stdio.Open{Start: &exec})
	if err != nil {
		return "", Exit{}, err
	}
	defer s.Close()
	s.work.Go(func() { copyWarnings(errs, s.Stderr) })
	s.work.Go(func() { _, _ = io.Copy(io.Discard, s.Stdout) })
	exit, err = s.Wait(ctx)
	return s.exit.Started, exit, err
}

// Attach takes a command over from its client, if it has one. rows and cols are the size
// of the client's terminal; 0 if it has none.
func (c *Client) Attach(ctx context.Context, id string, rows, cols uint16) (*Session, error) {
	return c.open(ctx, stdio.Open{Attach: &stdio.Attach{ID: id, Rows: rows, Cols: cols}})
}

// Leave makes a command continue when its client disconnects. client, unless nil, is the
// session to end; an older agent in the guest does not end it. The caller has to read the
// session to its end, and to close it.
func (c *Client) Leave(ctx context.Context, id string, client *Session) error {
	leave := stdio.Leave{ID: id}
	if client != nil {
		pipe := client.pipe.ID()
		leave.Client = hex.EncodeToString(pipe[:])
	}
	s, err := c.open(ctx, stdio.Open{Leave: &leave})
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Wait(ctx)
	return err
}

// ID returns the guest's id of the command that Exec began.
func (s *Session) ID() string {
	id := s.pipe.ID()
	return hex.EncodeToString(id[:4])
}
