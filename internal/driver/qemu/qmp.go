package qemu

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// qmpLine bounds a line of the monitor, in bytes. QEMU holds guest memory and is what a hostile
// guest would take over first, so its output is not trusted.
const qmpLine = 256 << 10

// qmp is a connection to QEMU's monitor, ready for commands (QMP specification,
// "qmp-spec"). QEMU serves one connection at a time, so each is short.
type qmp struct {
	conn  net.Conn
	lines *bufio.Scanner
	// migration is the last state of a migration that an event has reported (MigrationStatus of the
	// QMP reference). QEMU reports it only with the capability "events".
	migration string
}

// qmpMessage is any message of QEMU's: a greeting, an event, a response.
type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	Event    string          `json:"event"`
	Data     struct {
		Status string `json:"status"`
	} `json:"data"`
	ID     string          `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class       string `json:"class"`
		Description string `json:"desc"`
	} `json:"error"`
}

// newQMP waits for the greeting and leaves negotiation mode. It takes ownership of conn.
func newQMP(ctx context.Context, conn net.Conn) (*qmp, error) {
	q := &qmp{conn: conn, lines: bufio.NewScanner(conn)}
	q.lines.Buffer(make([]byte, 0, 4<<10), qmpLine)
	err := q.bounded(ctx, func() error {
		m, err := q.read()
		if err == nil && m.ID != "" { // the response to a command of a connection that was cut before it came
			m, err = q.read()
		}
		if err != nil {
			return err
		}
		if m.Greeting == nil {
			return errors.New("no QMP greeting")
		}
		return q.command("qmp_capabilities", nil, nil)
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot talk to QEMU's monitor: %w", err)
	}
	return q, nil
}

// Execute runs a command and stores its result in result, which may be nil.
func (q *qmp) Execute(ctx context.Context, command string, arguments, result any) error {
	err := q.bounded(ctx, func() error { return q.command(command, arguments, result) })
	if err != nil {
		return fmt.Errorf("QEMU command %s: %w", command, err)
	}
	return nil
}

// Close ends the connection.
func (q *qmp) Close() error { return q.conn.Close() }

// bounded breaks the connection when ctx ends, so that no read outlives it.
func (q *qmp) bounded(ctx context.Context, do func() error) error {
	stop := context.AfterFunc(ctx, func() { q.conn.Close() })
	defer stop()
	if err := do(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

func (q *qmp) command(name string, arguments, result any) error {
	return q.commandWith(name, arguments, nil, result)
}

// commandWith passes a descriptor with the command (SCM_RIGHTS, unix(7)), unless file is nil.
func (q *qmp) commandWith(name string, arguments any, file *os.File, result any) error {
	id := rand.Text()
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        string `json:"id"`
	}{name, arguments, id})
	if err != nil {
		return err
	}
	if err := q.send(append(line, '\n'), file); err != nil {
		return err
	}
	for {
		m, err := q.read()
		switch {
		case err != nil:
			return err
		case m.Event != "" || m.ID != "" && m.ID != id:
			continue // another id is that of a command of a connection that was cut before its response
		case m.Error != nil:
			return fmt.Errorf("%s: %.200s", m.Error.Class, m.Error.Description)
		case m.Return == nil:
			return errors.New("neither result nor error in QEMU's response")
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Return, result)
	}
}

func (q *qmp) send(line []byte, file *os.File) error {
	if file == nil {
		_, err := q.conn.Write(line)
		return err
	}
	conn, ok := q.conn.(*net.UnixConn)
	if !ok {
		return errors.New("the monitor takes no descriptors")
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) { _, _, sent = conn.WriteMsgUnix(line, unix.UnixRights(int(fd)), nil) })
	return errors.Join(err, sent)
}

func (q *qmp) read() (qmpMessage, error) {
	if !q.lines.Scan() {
		if err := q.lines.Err(); err != nil {
			return qmpMessage{}, err
		}
		return qmpMessage{}, io.ErrUnexpectedEOF
	}
	m, err := parseQMP(q.lines.Bytes())
	if m.Event == "MIGRATION" {
		q.migration = m.Data.Status
	}
	return m, err
}

func parseQMP(line []byte) (qmpMessage, error) {
	var m qmpMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return qmpMessage{}, fmt.Errorf("bad QMP message: %w", err)
	}
	return m, nil
}
