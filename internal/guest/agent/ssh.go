package agent

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"

	"banger/api"
	"banger/internal/guest/agent/process"
	"banger/internal/guest/agent/sshd"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"
)

// sshJob is a job that serves SSH over the session's standard input and output.
type sshJob struct {
	server *server
	seed   []byte
}

func (s *server) newSSH(open stdio.SSH) job {
	if len(open.HostKey) != ed25519.SeedSize {
		return failing{api.Errorf(api.KindInvalid, "cannot serve ssh: the host key has %d bytes, not %d", len(open.HostKey), ed25519.SeedSize)}
	}
	return sshJob{s, open.HostKey}
}

func (j sshJob) run(ctx context.Context, m *stdio.Mux) stdio.Exit {
	conn := sshd.Conn(m.In(stdio.Stdin), m.Out(stdio.Stdout))
	err := sshd.Serve(ctx, conn, ed25519.NewKeyFromSeed(j.seed), sshGuest{j.server})
	if err != nil {
		return stdio.Exit{Error: api.Errorf(api.KindInternal, "cannot serve ssh: %w", err)}
	}
	return stdio.Exit{}
}

func (sshJob) signal(int)            {}
func (sshJob) resize(uint16, uint16) {}

// sshGuest is this guest for the SSH server.
type sshGuest struct{ *server }

// userSpec returns a login name in the form of api.Exec: root exists in every image, even without
// /etc/passwd.
func userSpec(name string) string {
	if name == "root" {
		return ""
	}
	return name
}

// Login finds a user of the guest.
func (g sshGuest) Login(name string) (sshd.User, error) {
	a, err := g.programs.Account(userSpec(name))
	if err != nil {
		return sshd.User{}, err
	}
	return sshd.User{Name: name, Home: a.Home, Credential: a.Credential}, nil
}

// Program returns a program that runs like those of vm exec.
func (g sshGuest) Program(user sshd.User, start sshd.Start) sshd.Program {
	exec := api.Exec{User: userSpec(user.Name), Env: start.Env}
	if t := start.TTY; t != nil {
		exec.TTY, exec.Rows, exec.Cols = true, t.Rows, t.Cols
		exec.Env = append([]string{"TERM=" + cmp.Or(t.Term, "dumb")}, exec.Env...)
	}
	c := g.programs.Command(exec)
	// As in sshd(8), the user's shell runs a command line, and a session without a terminal lasts as
	// long as its output.
	c.ShellLine, c.ToEOF = start.Command, start.TTY == nil
	if start.SFTP {
		c.Itself = sshd.SFTPName
	}
	if start.TTY != nil {
		c.Prepare = func(tty *os.File) ([]string, error) {
			return []string{"SSH_TTY=" + tty.Name()}, start.TTY.Prepare(tty)
		}
	}
	return sshProgram{c}
}

// Place gives a connection that ssh forwards a place among those of all clients.
func (g sshGuest) Place(end func()) *forward.Place { return g.sessions.crowd.Enter(end) }

type sshProgram struct{ command *process.Command }

// Run runs it. If it cannot be started, its standard error gets the reason.
func (p sshProgram) Run(ctx context.Context, s sshd.Streams, ended func(sshd.Exit)) {
	ran := false
	p.command.OnEnd = func(exit process.Exit) {
		ran = true
		ended(sshd.Exit(exit))
	}
	exit, err := p.command.Run(ctx, process.Streams(s))
	if err != nil {
		fmt.Fprintf(s.Err, "banger: %s\n", api.AsError(err).Message)
		exit.Code = 126 // POSIX, shell command language 2.8.2: found, but not run
	}
	if !ran {
		ended(sshd.Exit{Code: exit.Code})
	}
}

// Signal forwards a signal.
func (p sshProgram) Signal(number int) { p.command.Signal(number) }

// Resize changes the terminal's size.
func (p sshProgram) Resize(rows, cols uint16) { p.command.Resize(rows, cols) }
