package sshd

import (
	"context"
	"io"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

const (
	// maxEnv and maxEnvBytes bound what a client can set for a program; ssh sends
	// what its SendEnv and SetEnv name.
	maxEnv      = 256
	maxEnvBytes = 64 << 10
)

// session is a channel with a program at its end (RFC 4254, section 6).
type session struct {
	server  *server
	channel ssh.Channel
	work    sync.WaitGroup

	env      []string
	envBytes int
	tty      *Terminal
	program  Program // nil until it is requested
}

// session serves a channel until the client has closed it and its program ended.
func (s *server) session(wish ssh.NewChannel) {
	channel, requests, err := wish.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	x := &session{server: s, channel: channel}
	for r := range requests {
		ok := x.handle(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if ok && starts(r.Type) {
			x.work.Go(func() { x.run(ctx) })
		}
	}
	cancel()
	x.work.Wait()
}

func starts(request string) bool {
	return request == "shell" || request == "exec" || request == "subsystem"
}

// handle executes a request and reports whether it succeeded.
func (x *session) handle(r *ssh.Request) bool {
	switch r.Type {
	case "env":
		return x.setEnv(r.Payload)
	case "pty-req":
		return x.setTTY(r.Payload)
	case "window-change":
		return x.resize(r.Payload)
	case "signal":
		return x.signal(r.Payload)
	case "auth-agent-req@openssh.com":
		return x.forwardAgent()
	case "shell":
		return x.start(Start{})
	case "exec":
		var req struct{ Command string }
		return ssh.Unmarshal(r.Payload, &req) == nil && x.start(Start{Command: req.Command})
	case "subsystem":
		var req struct{ Name string }
		return ssh.Unmarshal(r.Payload, &req) == nil && req.Name == "sftp" && x.start(Start{SFTP: true})
	}
	return false
}

func (x *session) setEnv(payload []byte) bool {
	var req struct{ Name, Value string }
	if ssh.Unmarshal(payload, &req) != nil || req.Name == "" || strings.ContainsAny(req.Name, "=\x00") || strings.ContainsRune(req.Value, 0) {
		return false
	}
	size := len(req.Name) + len(req.Value) + 2
	if x.program != nil || len(x.env) >= maxEnv || x.envBytes+size > maxEnvBytes {
		return false
	}
	x.envBytes += size
	x.env = append(x.env, req.Name+"="+req.Value)
	return true
}

func (x *session) setTTY(payload []byte) bool {
	var req struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if ssh.Unmarshal(payload, &req) != nil || x.program != nil || x.tty != nil || strings.ContainsRune(req.Term, 0) || len(req.Term) > 256 {
		return false
	}
	x.tty = &Terminal{Term: req.Term, Rows: clamp(req.Rows), Cols: clamp(req.Cols), modes: parseModes(req.Modes)}
	return true
}

func clamp(n uint32) uint16 { return uint16(min(n, 1<<16-1)) }

func (x *session) resize(payload []byte) bool {
	var req struct{ Cols, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &req) != nil || x.program == nil || x.tty == nil {
		return false
	}
	x.program.Resize(clamp(req.Rows), clamp(req.Cols))
	return true
}

func (x *session) signal(payload []byte) bool {
	var req struct{ Signal string }
	if ssh.Unmarshal(payload, &req) != nil || x.program == nil {
		return false
	}
	number := unix.SignalNum("SIG" + req.Signal)
	if number == 0 {
		return false
	}
	x.program.Signal(int(number))
	return true
}

func (x *session) forwardAgent() bool {
	if x.program != nil {
		return false
	}
	path, err := x.server.agentSocket()
	if err != nil {
		return false
	}
	x.env = append(x.env, "SSH_AUTH_SOCK="+path)
	return true
}

// start prepares the program; a session has one.
func (x *session) start(what Start) bool {
	if x.program != nil || strings.ContainsRune(what.Command, 0) {
		return false
	}
	// A client without a network has no addresses: sshd(8) sets these values when it serves a
	// pipe. Shells check whether the variables exist.
	what.Env = append(x.env, "SSH_CLIENT=UNKNOWN 65535 65535", "SSH_CONNECTION=UNKNOWN 65535 UNKNOWN 65535")
	what.TTY = x.tty
	x.program = x.server.guest.Program(x.server.user, what)
	return true
}

// run runs the program and sends its exit status to the client as soon as it has ended: background
// processes may continue to write, and the channel is closed after that.
func (x *session) run(ctx context.Context) {
	// A read of the channel ends only with the channel, the program's input also with the
	// program.
	in, input := io.Pipe()
	x.work.Go(func() {
		_, err := io.Copy(input, x.channel)
		input.CloseWithError(err)
	})
	outs := &outputs{channel: x.channel, open: 3}
	out, errs := &output{Writer: x.channel, end: outs.close}, &output{Writer: x.channel.Stderr(), end: outs.close}
	x.program.Run(ctx, Streams{In: in, Out: out, Err: errs}, func(e Exit) {
		x.exit(e)
		outs.close()
	})
	in.Close()
	out.Close()
	errs.Close()
	x.channel.Close()
}

// exit sends the client how the program ended. A client that has disconnected does not receive it.
func (x *session) exit(exit Exit) {
	name := signalName(exit.Signal)
	if name == "" {
		_, _ = x.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(exit.Code)}))
		return
	}
	_, _ = x.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Signal   string
		Dumped   bool
		Message  string
		Language string
	}{Signal: name}))
}

// signalName returns the name of a signal in RFC 4254, section 6.10, or "" for no signal and for
// others, whose number is in the exit status.
func signalName(s syscall.Signal) string {
	switch s {
	case unix.SIGABRT, unix.SIGALRM, unix.SIGFPE, unix.SIGHUP, unix.SIGILL, unix.SIGINT, unix.SIGKILL,
		unix.SIGPIPE, unix.SIGQUIT, unix.SIGSEGV, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2:
		return strings.TrimPrefix(unix.SignalName(s), "SIG")
	}
	return ""
}

// outputs sends the end of the output once standard output and error have ended and the status was
// sent. A client that sends nothing more either answers the end with CLOSE (RFC 4254, section 5.3), as
// OpenSSH does; a status after that would be lost, and a running program would be hung up.
type outputs struct {
	channel ssh.Channel
	mu      sync.Mutex
	open    int
}

func (o *outputs) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open--; o.open == 0 {
		_ = o.channel.CloseWrite() // fails if the client has disconnected
	}
}

// output is one of the two, which are closed separately.
type output struct {
	io.Writer
	end  func()
	once sync.Once
}

// Close ends the stream.
func (o *output) Close() error {
	o.once.Do(o.end)
	return nil
}
