// Package stdio multiplexes the standard streams and the control messages of a session over
// one ordered pipe of bytes. Each of the three streams has a window of its own: no stream
// waits for another that nobody reads, and a signal or a new terminal size never waits
// behind input that the command does not read.
package stdio

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"banger/api"
	"banger/internal/guest/chunk"
)

// Frames begin with a type and a 3-byte length.
const (
	headerSize = 4
	maxData    = 32 << 10
	maxControl = 16 << 10
	// MaxOpen bounds the first message, in bytes. Linux accepts at most 2 MiB of arguments
	// and environment with the default stack limit (execve(2)).
	MaxOpen = 8 << 20
	// window is how many bytes of one stream may be in flight.
	window = 128 << 10
	// connectionWindow is the window of a forwarded connection, of which there may be a
	// thousand. The sender enforces it: the other end may be older and allow a whole window.
	// It is twice the amount after which the reader grants credit.
	connectionWindow = 64 << 10
)

type kind byte

const (
	kindOpen   kind = 1 // client: an Open as JSON
	kindData   kind = 2 // 1 byte stream, then the bytes
	kindEOF    kind = 3 // 1 byte stream
	kindCredit kind = 4 // 1 byte stream, 4 bytes: how many more bytes the sender accepts
	kindSignal kind = 5 // client: 1 byte
	kindResize kind = 6 // client: 2 bytes rows, 2 bytes columns
	kindExit   kind = 7 // agent, last: an Exit as JSON
)

// The streams.
const (
	Stdin  = 0
	Stdout = 1
	Stderr = 2
)

// Open is the first message of a session and says what it does; one field is set.
type Open struct {
	Exec *api.Exec `json:"exec,omitempty"`
	Put  *Copy     `json:"put,omitempty"`  // standard input is a tar stream
	Get  *Copy     `json:"get,omitempty"`  // standard output is a tar stream
	Stat *Copy     `json:"stat,omitempty"` // the answer is in Exit
	SSH  *SSH      `json:"ssh,omitempty"`  // standard input and output are a client's of SSH

	Connect *Endpoint `json:"connect,omitempty"` // the streams are a connection that the agent makes
	Listen  *Listen   `json:"listen,omitempty"`  // standard output reports connections, each a Taken as JSON
	Accept  *Accept   `json:"accept,omitempty"`  // the streams are a connection that Listen reported
	Ports   *Ports    `json:"ports,omitempty"`   // standard output is a list of api.ListeningPort as JSON
	// The two ends of package filecopy's protocol: files from standard input are created in
	// the directory Path, or Path is sent on standard output.
	CopyIn  *Copy `json:"copy_in,omitempty"`
	CopyOut *Copy `json:"copy_out,omitempty"`
	// Tree writes the list of what is in a directory to standard output. Fetch reads names of
	// files in the directory Path from standard input, and writes their contents. Both are package
	// manifest's.
	Tree  *Tree `json:"tree,omitempty"`
	Fetch *Copy `json:"fetch,omitempty"`
	// Place reads changes of files in the directory Path from standard input, and writes what
	// became of them: package manifest's.
	Place *Copy `json:"place,omitempty"`
	// Watch writes to standard output what changes in a directory: package manifest's.
	Watch *Watch `json:"watch,omitempty"`
	// Start runs a command without a client: the session ends with Exit.Started.
	Start *api.Exec `json:"start,omitempty"`
	// Attach takes a command over from its client, if it has one. Leave makes a command
	// continue when its client disconnects.
	Attach *Attach `json:"attach,omitempty"`
	Leave  *Leave  `json:"leave,omitempty"`
	// List writes a list of api.Session as JSON to standard output.
	List *List `json:"list,omitempty"`
}

// SSH configures the guest's SSH server.
type SSH struct {
	// HostKey is the seed of the VM's ed25519 key (RFC 8032, section 5.1.5).
	HostKey []byte `json:"host_key"`
}

// Copy names what to copy.
type Copy struct {
	Path    string `json:"path"`
	Name    string `json:"name,omitempty"`    // the copy's name: copy_in and copy_out
	Archive bool   `json:"archive,omitempty"` // preserve owners: copy_in
}

// Tree names a directory, and says as manifest.Options what is listed of it.
type Tree struct {
	Path    string   `json:"path"`
	Skip    []string `json:"skip,omitempty"`
	Only    []string `json:"only,omitempty"`
	Entries int64    `json:"entries"`
	Bytes   int64    `json:"bytes"`
}

// Watch names a directory, and those in it that are not watched, as treewatch.Options.
type Watch struct {
	Path string   `json:"path"`
	Skip []string `json:"skip,omitempty"`
}

// Attach names a command by its id from List, or the beginning of it.
type Attach struct {
	ID   string `json:"id"`
	Rows uint16 `json:"rows,omitempty"` // of the client's terminal
	Cols uint16 `json:"cols,omitempty"`
}

// Leave names a command as Attach does.
type Leave struct {
	ID string `json:"id"`
	// Client is the whole id, in hexadecimal, of the client's session with the command, which
	// then ends: output that was sent to it and not read waits for the next client. Without
	// it, or with an older agent, the client has to end its session itself.
	Client string `json:"client,omitempty"`
}

// List requests the sessions in the guest.
type List struct{}

// Exit is how a session ended.
type Exit struct {
	Code   int        `json:"code"`             // exit status
	Signal int        `json:"signal,omitempty"` // that killed it
	Error  *api.Error `json:"error,omitempty"`  // why it did not run, or failed
	Stat   *Stat      `json:"stat,omitempty"`
	// Started is the id of a command that continues without a client.
	Started string `json:"started,omitempty"`
	// Errno is the number of Linux's error, if known: a connection that was refused can then
	// be refused in the same way.
	Errno int `json:"errno,omitempty"`
}

// Stat describes a file in the guest, symbolic links followed.
type Stat struct {
	Name  string `json:"name"` // the last element of the path, links resolved
	Mode  uint32 `json:"mode"` // as fs.FileMode
	Size  int64  `json:"size"`
	IsDir bool   `json:"is_dir"`
}

// Handler receives the control messages. Its methods are called one at a time and must not
// block.
type Handler struct {
	Signal func(number int)
	Resize func(rows, cols uint16)
	Exit   func(Exit)
	// Input is called before data, its end or a signal is sent: what a user does, unlike the size of
	// a window, or credit for what was received. It must not block.
	Input func()
}

// Mux is one end of a session.
type Mux struct {
	pipe    io.ReadWriter
	handler Handler

	writeMu sync.Mutex // frames are written whole

	ins  [3]*In
	outs [3]*Out

	received, sent atomic.Int64
}

// Traffic returns how many bytes of the streams were received and sent.
func (m *Mux) Traffic() (received, sent int64) { return m.received.Load(), m.sent.Load() }

// New returns an end over pipe. It reads the streams in, and writes the others.
func New(pipe io.ReadWriter, handler Handler, in ...int) *Mux {
	m := &Mux{pipe: pipe, handler: handler}
	for _, id := range in {
		m.ins[id] = newIn(m, id)
	}
	for id := range m.outs {
		if m.ins[id] == nil {
			m.outs[id] = newOut(m, id)
		}
	}
	return m
}

// In returns the reading end of a stream.
func (m *Mux) In(id int) *In { return m.ins[id] }

// Out returns the writing end of a stream.
func (m *Mux) Out(id int) *Out { return m.outs[id] }

// Run reads frames until the pipe ends or Exit has come, then ends every stream.
func (m *Mux) Run() error {
	err := m.run()
	reason := err
	if reason == nil {
		reason = io.EOF
	}
	for id := range m.ins {
		if m.ins[id] != nil {
			m.ins[id].end(reason)
		} else {
			m.outs[id].fail(io.ErrClosedPipe)
		}
	}
	return err
}

func (m *Mux) run() error {
	for {
		if done, err := m.frame(); done || err != nil {
			return err
		}
	}
}

// frame reads one frame and handles it.
func (m *Mux) frame() (done bool, err error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(m.pipe, head[:]); err != nil {
		return false, err
	}
	k, length, err := parseHeader(head)
	if err != nil {
		return false, err
	}
	buf := chunk.Get(length)
	defer chunk.Put(buf)
	if _, err := io.ReadFull(m.pipe, buf); err != nil {
		return false, unexpected(err)
	}
	return m.handle(k, buf)
}

func parseHeader(head [headerSize]byte) (kind, int, error) {
	k, length := kind(head[0]), int(head[1])<<16|int(head[2])<<8|int(head[3])
	limit := maxControl
	if k == kindData {
		limit = 1 + maxData
	}
	if length > limit {
		return 0, 0, fmt.Errorf("session frame of type %d with %d bytes is too long", k, length)
	}
	return k, length, nil
}

func (m *Mux) handle(k kind, b []byte) (done bool, err error) {
	bad := fmt.Errorf("bad session frame of type %d with %d bytes", k, len(b))
	switch k {
	case kindData, kindEOF:
		if len(b) == 0 || int(b[0]) >= len(m.ins) || m.ins[b[0]] == nil {
			return false, bad
		}
		if k == kindEOF {
			m.ins[b[0]].end(io.EOF)
			return false, nil
		}
		m.received.Add(int64(len(b) - 1))
		return false, m.ins[b[0]].push(b[1:])
	case kindCredit:
		if len(b) != 5 || int(b[0]) >= len(m.outs) || m.outs[b[0]] == nil {
			return false, bad
		}
		return false, m.outs[b[0]].grant(binary.BigEndian.Uint32(b[1:]))
	case kindSignal:
		if len(b) != 1 || m.handler.Signal == nil {
			return false, bad
		}
		m.handler.Signal(int(b[0]))
	case kindResize:
		if len(b) != 4 || m.handler.Resize == nil {
			return false, bad
		}
		m.handler.Resize(binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
	case kindExit:
		var exit Exit
		if m.handler.Exit == nil || json.Unmarshal(b, &exit) != nil {
			return false, bad
		}
		m.handler.Exit(exit)
		return true, nil
	default:
		return false, bad
	}
	return false, nil
}

// Signal sends a signal to the command.
func (m *Mux) Signal(number int) error { return m.send(kindSignal, []byte{byte(number)}) }

// Resize tells the command's terminal its new size.
func (m *Mux) Resize(rows, cols uint16) error {
	return m.send(kindResize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, rows), cols))
}

// Exit sends how the session ended; nothing may follow.
func (m *Mux) Exit(exit Exit) error {
	body, err := json.Marshal(exit)
	if err == nil && len(body) > maxControl && exit.Error != nil {
		e := *exit.Error
		e.Message, e.Hint = e.Message[:min(len(e.Message), 1024)], e.Hint[:min(len(e.Hint), 1024)]
		exit.Error = &e
		body, err = json.Marshal(exit)
	}
	if err != nil {
		return err
	}
	return m.send(kindExit, body)
}

// WriteOpen writes the first message of a session.
func WriteOpen(w io.Writer, open Open) error {
	body, err := json.Marshal(open)
	if err != nil {
		return err
	}
	if len(body) > MaxOpen {
		return api.Errorf(api.KindInvalid, "the command line is too long: %d bytes", len(body)).
			WithHint("pass long input on standard input")
	}
	_, err = w.Write(appendFrame(nil, kindOpen, body))
	return err
}

// ReadOpen reads the first message of a session.
func ReadOpen(r io.Reader) (Open, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Open{}, err
	}
	length := int64(head[1])<<16 | int64(head[2])<<8 | int64(head[3])
	if kind(head[0]) != kindOpen || length > MaxOpen {
		return Open{}, fmt.Errorf("session begins with a frame of type %d and %d bytes", head[0], length)
	}
	var open Open
	d := json.NewDecoder(io.LimitReader(r, length)) // grows with the input
	if err := d.Decode(&open); err != nil {
		return Open{}, fmt.Errorf("bad session: %w", unexpected(err))
	}
	if d.InputOffset() != length {
		return Open{}, errors.New("bad session: something follows the message")
	}
	return open, nil
}

func (m *Mux) send(k kind, parts ...[]byte) error {
	m.writeMu.Lock()
	defer m.writeMu.Unlock()
	size := headerSize
	for _, part := range parts {
		size += len(part)
	}
	buf := chunk.Get(size)
	defer chunk.Put(buf)
	if m.handler.Input != nil && (k == kindData || k == kindEOF || k == kindSignal) {
		m.handler.Input()
	}
	_, err := m.pipe.Write(appendFrame(buf[:0], k, parts...))
	if err == nil && k == kindData {
		m.sent.Add(int64(len(parts[1])))
	}
	return err
}

func appendFrame(dst []byte, k kind, parts ...[]byte) []byte {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	dst = append(dst, byte(k), byte(length>>16), byte(length>>8), byte(length))
	for _, part := range parts {
		dst = append(dst, part...)
	}
	return dst
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
