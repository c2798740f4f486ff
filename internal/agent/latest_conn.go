package agent

import (
	"context"

	"banger/internal/agentproto"
)

// newest hands out connections so that a new one ends the one before: a host that
// connects anew has given up the old connection, which may be one that nobody
// will ever say another word on.
type newest struct {
	next chan agentproto.Conn // what was accepted and not yet taken
	done chan struct{}        // closed once err is set
	err  error
}

// serveNewest accepts until accept fails, which closing what it accepts from
// makes it do.
func serveNewest(accept func() (agentproto.Conn, error)) *newest {
	n := &newest{next: make(chan agentproto.Conn, 1), done: make(chan struct{})}
	go n.run(accept)
	return n
}

func (n *newest) run(accept func() (agentproto.Conn, error)) {
	defer close(n.done)
	var current agentproto.Conn
	for {
		conn, err := accept()
		if current != nil {
			_ = current.Close()
		}
		select {
		case <-n.next: // the current one, which nobody has taken
		default:
		}
		if err != nil {
			n.err = err
			return
		}
		current = conn
		n.next <- conn
	}
}

// Accept waits for the next connection.
func (n *newest) Accept(ctx context.Context) (agentproto.Conn, error) {
	select {
	case conn := <-n.next:
		return conn, nil
	case <-n.done:
		return nil, n.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
