package agent

import (
	"context"
	"encoding/json"
	"net"

	"banger/api"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
)

// listening is a job that listens in the guest and reports connections to the client, which
// accepts each in a separate session.
type listening struct {
	server *server
	listen stdio.Listen
}

func (s *server) newListen(l stdio.Listen) listening { return listening{s, l} }

func (l listening) run(ctx context.Context, m *stdio.Mux) stdio.Exit {
	e := l.listen.Endpoint
	if e.Network == stdio.Unix {
		e.Address = l.server.inGuest(e.Address)
	}
	listener, err := forward.Listen(ctx, e)
	if err != nil {
		return stdio.Exit{Error: forward.Refused(err, e, " in the guest"), Errno: errno(err)}
	}
	defer listener.Close()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	p, err := l.server.listeners.add(l.listen.ID)
	if err != nil {
		return stdio.Exit{Error: api.AsError(err)}
	}
	defer l.server.listeners.remove(l.listen.ID)
	err = p.report(ctx, listener, json.NewEncoder(m.Out(stdio.Stdout)))
	return stdio.Exit{Error: api.AsError(err)}
}

func (listening) signal(int)            {}
func (listening) resize(uint16, uint16) {}

func (s *server) newAccept(sess *session, a stdio.Accept) connecting {
	get := func(context.Context) (net.Conn, error) {
		conn := s.listeners.accept(a.ID, a.Number)
		switch {
		case conn != nil && a.Refuse:
			forward.Abort(conn)
		case conn != nil:
			return conn, nil
		}
		return nil, api.Errorf(api.KindNotFound, "the connection in the guest has ended")
	}
	return connecting{s.sessions, sess, get, "accept a connection"}
}
