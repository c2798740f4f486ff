// Package sshd serves SSH (RFC 4251 to 4254) over the bytes of a session, so that the user's own ssh,
// scp, sftp, rsync, git and editors reach the guest. It does not authenticate the client: only the VM's
// owner can open a session.
package sshd

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"banger/internal/guest/forward"
)

const (
	// loginGrace is how long a client may take to log in (LoginGraceTime of
	// sshd_config(5)).
	loginGrace = 2 * time.Minute
	// maxChannels is how many channels a client may have open: each may need
	// a window of 2 MiB in the server. Browsers through -D open some dozens. Those that carry a connection
	// also need a place among the guest's (Guest.Place).
	maxChannels = 256
	// maxListeners is how many remote forwardings a client may have.
	maxListeners = 64
)

// Guest is the server's interface to the guest.
type Guest interface {
	// Login finds a user; the client sees the error.
	Login(name string) (User, error)
	// Program prepares the program that a user's session requests.
	Program(user User, start Start) Program
	// Place takes a place for a forwarded connection among all that the guest carries; nil:
	// there is none. end is called when the connection has to make way (forward.Crowd).
	Place(end func()) *forward.Place
}

// User is the user as which a client has logged in.
type User struct {
	Name string // as the client sent it
	Home string
	// Credential is nil for a user that has the rights of this process.
	Credential *syscall.Credential
}

// Start describes what a session runs.
type Start struct {
	Command string // for the user's shell; empty means the shell itself
	SFTP    bool   // the file transfer server instead
	Env     []string
	TTY     *Terminal // nil: none
}

// Program is a session's program. Signal and Resize may be called before Run.
type Program interface {
	// Run runs it to the end of its output, or hangs it up when ctx ends. It calls ended
	// once, when the program itself has ended, or could not start.
	Run(ctx context.Context, s Streams, ended func(Exit))
	Signal(number int)
	Resize(rows, cols uint16)
}

// Streams are a program's standard streams. The program closes each when it is done with it.
type Streams struct {
	In       io.ReadCloser
	Out, Err io.WriteCloser
}

// Exit is how a program ended.
type Exit struct {
	Code   int
	Signal syscall.Signal // that killed it, or 0
}

// server serves one client.
type server struct {
	guest Guest
	ctx   context.Context // ends when the client has disconnected
	user  User
	conn  *ssh.ServerConn
	work  sync.WaitGroup

	mu        sync.Mutex
	channels  int
	listeners map[string]io.Closer

	agentMu  sync.Mutex
	agentDir string // holds the socket of the client's ssh-agent
}

// Serve serves one client until it disconnects, or ctx ends. Then it hangs up the client's programs and
// closes conn.
func Serve(ctx context.Context, conn net.Conn, key ed25519.PrivateKey, guest Guest) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := &server{guest: guest, listeners: map[string]io.Closer{}}
	refused := false
	config, err := s.config(key, &refused)
	if err != nil {
		return err
	}
	late := time.AfterFunc(loginGrace, func() { conn.Close() })
	client, channels, requests, err := ssh.NewServerConn(conn, config)
	late.Stop()
	if refused { // the client has received the reason
		return nil
	}
	if err != nil {
		return fmt.Errorf("no client logged in: %w", err)
	}
	s.conn = client
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	s.work.Go(func() { s.requests(requests) })
	for wish := range channels {
		s.open(wish)
	}
	cancel()
	s.work.Wait()
	if s.agentDir != "" {
		return os.RemoveAll(s.agentDir)
	}
	return nil
}

// config admits every client that names a user of the guest.
func (s *server) config(key ed25519.PrivateKey, refused *bool) (*ssh.ServerConfig, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{
		NoClientAuth:  true,
		ServerVersion: "SSH-2.0-banger",
		NoClientAuthCallback: func(meta ssh.ConnMetadata) (*ssh.Permissions, error) {
			user, err := s.guest.Login(meta.User())
			if err != nil {
				*refused = true
				return nil, &ssh.BannerError{Err: err, Message: "banger: " + err.Error() + "\n"}
			}
			s.user = user
			return nil, nil
		},
	}
	config.AddHostKey(signer)
	return config, nil
}

// open serves a channel that the client requests.
func (s *server) open(wish ssh.NewChannel) {
	serve := map[string]func(ssh.NewChannel){
		"session":                        s.session,
		"direct-tcpip":                   s.directTCP,
		"direct-streamlocal@openssh.com": s.directUnix,
	}[wish.ChannelType()]
	switch {
	case serve == nil:
		_ = wish.Reject(ssh.UnknownChannelType, "banger does not know this kind of channel")
	case !s.take():
		_ = wish.Reject(ssh.ResourceShortage, fmt.Sprintf("%d channels are already open", maxChannels))
	default:
		s.work.Go(func() {
			defer s.give()
			serve(wish)
		})
	}
}

// take counts a channel; it returns false if there are too many.
func (s *server) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels >= maxChannels {
		return false
	}
	s.channels++
	return true
}

func (s *server) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels--
}

// requests answers requests about the whole connection. A keepalive is an unknown request that only
// needs an answer.
func (s *server) requests(requests <-chan *ssh.Request) {
	for r := range requests {
		ok, payload := false, []byte(nil)
		switch r.Type {
		case "tcpip-forward":
			payload, ok = s.listenTCP(r.Payload)
		case "streamlocal-forward@openssh.com":
			ok = s.listenUnix(r.Payload)
		case "cancel-tcpip-forward", "cancel-streamlocal-forward@openssh.com":
			ok = s.cancelListener(r.Type, r.Payload)
		}
		if r.WantReply {
			_ = r.Reply(ok, payload)
		}
	}
}

// Conn combines two streams into a connection for Serve.
func Conn(in io.ReadCloser, out io.WriteCloser) net.Conn { return &streamConn{in, out} }

type streamConn struct {
	io.ReadCloser
	out io.WriteCloser
}

func (c *streamConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// Close ends reading and writing, including calls in progress.
func (c *streamConn) Close() error { return errors.Join(c.ReadCloser.Close(), c.out.Close()) }

// A session has no addresses, and is ended by closing it.
func (*streamConn) LocalAddr() net.Addr              { return nowhere{} }
func (*streamConn) RemoteAddr() net.Addr             { return nowhere{} }
func (*streamConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (*streamConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (*streamConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

type nowhere struct{}

func (nowhere) Network() string { return "banger" }
func (nowhere) String() string  { return "banger" }
