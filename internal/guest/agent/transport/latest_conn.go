package transport

import (
	"context"

	"banger/internal/guest/agentproto"
)

// latestConn hands out connections so that a new one closes the previous one: a host that connects
// again has given up the old connection, on which no more data may ever arrive.
type latestConn struct {
	next chan agentproto.Conn // accepted and not yet handed out
	done chan struct{}        // closed once err is set
	err  error
}

// serveLatest accepts until accept fails, which it does when its listener is closed.
func serveLatest(accept func() (agentproto.Conn, error)) *latestConn {
	n := &latestConn{next: make(chan agentproto.Conn, 1), done: make(chan struct{})}
	go n.run(accept)
	return n
}

func (n *latestConn) run(accept func() (agentproto.Conn, error)) {
	defer close(n.done)
	var current agentproto.Conn
	for {
		conn, err := accept()
		if current != nil {
			_ = current.Close()
		}
		select {
		case <-n.next: // the current one, which was not handed out
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
func (n *latestConn) Accept(ctx context.Context) (agentproto.Conn, error) {
	select {
	case conn := <-n.next:
		return conn, nil
	case <-n.done:
		return nil, n.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
