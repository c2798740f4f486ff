package agent

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/guest/stdio"
)

// maxCommand is the number of bytes of a command line that are listed.
const maxCommand = 200

// listing is a job that lists the sessions in the guest.
type listing struct{ server *server }

func (l listing) run(_ context.Context, m *stdio.Mux) stdio.Exit {
	return stdio.Exit{Error: api.AsError(json.NewEncoder(m.Out(stdio.Stdout)).Encode(l.server.list()))}
}

func (listing) signal(int)            {}
func (listing) resize(uint16, uint16) {}

func (s *server) list() []api.Session {
	list := s.tasks.list()
	for _, sess := range s.sessions.all() {
		if e, listed := sess.describe(); listed {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b api.Session) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), strings.Compare(a.ID, b.ID))
	})
	return list
}

// parting reports whether the task is about to be removed: its client has received the exit
// status, or is connected and will receive it. The caller holds tasks.mu.
func (t *task) parting() bool {
	c := t.client
	return c != nil && c.told && (!c.sess.isAway() || c.hasAll())
}

// describe returns the description of a task. The caller holds tasks.mu.
func (t *task) describe() api.Session {
	e := api.Session{
		ID: t.id, Kind: "exec", Command: commandLine(t.exec.Argv), TTY: t.exec.TTY,
		State: api.SessionDetached, Kept: t.kept, PID: t.command.PID(), StartedAt: t.began.UTC(),
		BytesIn: t.in.count(), BytesOut: t.out.count() + t.err.count(),
	}
	if len(t.exec.Argv) == 0 {
		e.Kind = "shell"
	}
	switch {
	case t.client != nil:
		e.State = t.client.sess.state()
	case t.ended():
		e.State = api.SessionEnded
	}
	if t.ended() {
		e.PID, e.ExitCode = 0, &t.exit.Code
	}
	return e
}

// describe returns the description of a session, unless it belongs to a task or is about to end.
func (sess *session) describe() (e api.Session, listed bool) {
	sess.mu.Lock()
	id, o, m := sess.pipe.ID(), sess.open, sess.mux
	sess.mu.Unlock()
	e = api.Session{ID: hex.EncodeToString(id[:4]), State: sess.state(), StartedAt: sess.began.UTC()}
	if m != nil {
		e.BytesIn, e.BytesOut = m.Traffic()
	}
	switch {
	case o.Put != nil:
		e.Kind, e.Command = "copy", "to "+o.Put.Path
	case o.CopyIn != nil:
		e.Kind, e.Command = "copy", "to "+strings.TrimSuffix(o.CopyIn.Path, "/")+"/"+o.CopyIn.Name
	case o.Place != nil:
		e.Kind, e.Command = "copy", "to "+o.Place.Path
	case o.Get != nil:
		e.Kind, e.Command = "copy", "from "+o.Get.Path
	case o.CopyOut != nil:
		e.Kind, e.Command = "copy", "from "+o.CopyOut.Path
	case o.Fetch != nil:
		e.Kind, e.Command = "copy", "from "+o.Fetch.Path
	case o.SSH != nil:
		e.Kind = "ssh"
	case o.Connect != nil:
		e.Kind, e.Command = "forward", "to "+o.Connect.Address
	case o.Listen != nil:
		e.Kind, e.Command = "forward", "from "+o.Listen.Address
	case o.Accept != nil:
		e.Kind, e.Command = "forward", "a connection"
	default:
		return e, false
	}
	e.Command = shorten(e.Command)
	return e, true
}

func (sess *session) state() api.SessionState {
	if sess.isAway() {
		return api.SessionWaiting
	}
	return api.SessionAttached
}

// commandLine formats an argument list roughly as a user would type it.
func commandLine(argv []string) string {
	var b strings.Builder
	for i, arg := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		if arg == "" || strings.ContainsAny(arg, " \t\n'\"\\$&|;<>()*?#~`!{}[]") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		b.WriteString(arg)
		if b.Len() > maxCommand {
			break
		}
	}
	return shorten(b.String())
}

func shorten(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxCommand {
		return s
	}
	return strings.ToValidUTF8(s[:maxCommand], "") + "…"
}
