package guest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"

	"banger/api"
	"banger/internal/stdio"
)

// maxList bounds what a guest may say of its sessions: a thousand of them take a
// tenth of it.
const maxList = 8 << 20

// Sessions lists what runs in the guest for clients, oldest first.
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

// Start starts a command that goes on without a client, and returns the id of its
// session. Where it cannot be started the status says how, and errs why.
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

// Attach takes a command over from its client, or from nobody. rows and cols are
// the client's terminal; 0 where it has none.
func (c *Client) Attach(ctx context.Context, id string, rows, cols uint16) (*Session, error) {
	return c.open(ctx, stdio.Open{Attach: &stdio.Attach{ID: id, Rows: rows, Cols: cols}})
}

// Leave lets a command go on when its client leaves. client, where not nil, is the
// session that leaves. It ends then, unless the guest's agent is an older one, and is to
// be read until then, and closed.
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

// ID is what the guest calls the command that Exec began.
func (s *Session) ID() string {
	id := s.pipe.ID()
	return hex.EncodeToString(id[:4])
}
