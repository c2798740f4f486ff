package agentproto

import (
	"bytes"
	"context"
	"io"
	"time"

	"banger/api"
)

// Conn is a byte channel between host and agent: a Unix socket, a vsock
// connection, or the guest's virtio-serial port.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
}

// Greet is the host's half of the handshake: it writes hello immediately and waits for the
// agent's answer until ctx ends; until the agent runs, the greeting waits in the channel.
// Older bytes before the answer are dropped. If Greet fails, conn is unusable and the caller
// closes it.
func Greet(ctx context.Context, conn Conn, hello Hello) (*Session, Ack, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	session, ack, err := greet(conn, hello)
	if !stop() {
		kind := api.KindTimeout
		if ctx.Err() == context.Canceled {
			kind = api.KindCanceled
		}
		return nil, Ack{}, api.Errorf(kind, "the guest's agent did not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, Ack{}, err
	}
	return session, ack, nil
}

func greet(conn Conn, hello Hello) (*Session, Ack, error) {
	greeting, err := greetingFrame(frameHello, hello.Nonce, hello)
	if err != nil {
		return nil, Ack{}, err
	}
	if _, err := conn.Write(greeting); err != nil {
		return nil, Ack{}, api.Errorf(api.KindInternal, "cannot greet the guest's agent: %w", err)
	}
	frames := newScanner(conn)
	for {
		f, err := frames.next()
		if err != nil {
			return nil, Ack{}, api.Errorf(api.KindInternal, "cannot read the answer of the guest's agent: %w", err)
		}
		if f.kind != frameAck || f.session != sessionOf(hello.Nonce) {
			continue
		}
		var ack Ack
		if err := parseGreeting(f, &ack, &ack.Nonce); err != nil || !bytes.Equal(ack.Nonce, hello.Nonce) {
			continue
		}
		if ack.Protocol != hello.Protocol {
			return nil, Ack{}, api.Errorf(api.KindUnsupported, "the guest's agent %s speaks protocol %d, this banger speaks %d",
				ack.Version, ack.Protocol, hello.Protocol).WithHint("restart the VM: it then gets the agent of this banger")
		}
		return newSession(conn, frames, f.session), ack, nil
	}
}

// Listener is the agent's half of the handshake on one Conn, which may carry
// any number of sessions one after the other.
type Listener struct {
	// OnHello, unless nil, is called with a greeting before its answer, which it completes.
	OnHello func(Hello, *Ack)

	conn   Conn
	frames *scanner
	ack    Ack // without nonce
	hello  *Hello
}

// NewListener listens on conn. It sends bootID and version to the host.
func NewListener(conn Conn, bootID, version string) *Listener {
	return &Listener{
		conn:   conn,
		frames: newScanner(conn),
		ack:    Ack{Protocol: Protocol, BootID: bootID, Version: version},
	}
}

// Accept waits for a greeting, answers, and returns the session; the previous session must
// be closed. A session reads io.EOF when the next greeting follows. After an error the
// channel is unusable.
func (l *Listener) Accept() (*Session, Hello, error) {
	if err := l.conn.SetDeadline(time.Time{}); err != nil {
		return nil, Hello{}, err
	}
	for {
		hello, err := l.nextHello()
		if err != nil {
			return nil, Hello{}, err
		}
		ack := l.ack
		ack.Nonce = hello.Nonce
		if l.OnHello != nil && hello.Protocol == Protocol {
			l.OnHello(hello, &ack)
			ack.Done = ack.Done.fit()
		}
		answer, err := greetingFrame(frameAck, hello.Nonce, ack)
		if err != nil {
			return nil, Hello{}, err
		}
		if _, err := l.conn.Write(answer); err != nil {
			return nil, Hello{}, err
		}
		if hello.Protocol != Protocol {
			continue // the host finds the reason in the answer
		}
		session := newSession(l.conn, l.frames, sessionOf(hello.Nonce))
		session.onHello = func(h Hello) { l.hello = &h }
		return session, hello, nil
	}
}

func (l *Listener) nextHello() (Hello, error) {
	if l.hello != nil {
		hello := *l.hello
		l.hello = nil
		return hello, nil
	}
	for {
		f, err := l.frames.next()
		if err != nil {
			return Hello{}, err
		}
		switch f.kind {
		case frameHello:
			var hello Hello
			if parseGreeting(f, &hello, &hello.Nonce) == nil {
				return hello, nil
			}
		case frameData:
			// The host still uses a session that has ended here, by an error or with an
			// earlier agent process: it has to begin a new one.
			reset := appendFrame(nil, frame{kind: frameReset, session: f.session})
			if _, err := l.conn.Write(reset); err != nil {
				return Hello{}, err
			}
		}
	}
}
