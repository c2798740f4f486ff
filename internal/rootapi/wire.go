package rootapi

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

// The connection is a SOCK_SEQPACKET Unix socket (unix(7)): a message is sent and
// received whole, with its descriptors. A request is one message, and so is its
// answer.
const (
	// MaxMessage bounds a message. The longest is a list of objects: that of two
	// thousand running VMs fits. What is longer is refused by whoever would send it.
	MaxMessage = 1 << 20
	maxRequest = 16 << 10 // no request of ours comes near it
	maxFiles   = 2
)

// protocol is the version of this package's contract. Both sides must have the
// same. It is a variable for a test that builds a program with another.
var protocol = "1"

// Request is what a client sends.
type Request struct {
	Protocol string          `json:"protocol"`
	Version  string          `json:"version"` // of the client
	Verb     Verb            `json:"verb"`
	Body     json.RawMessage `json:"body"`
}

// Response is what the helper answers.
type Response struct {
	Protocol string          `json:"protocol"`
	Version  string          `json:"version"` // of the helper
	Error    *api.Error      `json:"error,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

// CheckProtocol refuses a request of another contract than ours, by name.
func (r Request) CheckProtocol(version string) error {
	if r.Protocol == protocol {
		return nil
	}
	return mismatch(version, r.Version)
}

func mismatch(helper, daemon string) error {
	return api.Errorf(api.KindUnsupported, "bangerd-root %.60s and bangerd %.60s do not understand each other", helper, daemon).
		WithHint("sudo banger system restart   (guests run on)")
}

// NewResponse is the helper's answer.
func NewResponse(version string, body any, failure error) Response {
	r := Response{Protocol: protocol, Version: version}
	if failure != nil {
		r.Error = api.AsError(failure)
		return r
	}
	data, err := json.Marshal(body)
	if err != nil {
		r.Error = api.AsError(err)
	}
	r.Body = data
	return r
}

// errTooLong refuses a message instead of reading a part of it.
var errTooLong = api.Errorf(api.KindInvalid, "the message is too long, or has too many descriptors")

// Send sends one message.
func Send(c *net.UnixConn, message any, files []*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > MaxMessage {
		return errTooLong
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	if len(data) > usualBuffer {
		if err := enlarge(c); err != nil {
			return err
		}
	}
	_, _, err = c.WriteMsgUnix(data, rights, nil)
	return err
}

// usualBuffer is below what a socket takes at once as the kernel sets it up
// (net.core.wmem_default, socket(7)): 208 KiB, with what it adds to a message.
const usualBuffer = 64 << 10

// enlarge has a socket take a whole message of any size that is allowed. Only root
// may go beyond net.core.wmem_max, and only the helper has so much to say.
func enlarge(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var setErr error
	err = raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, MaxMessage+usualBuffer)
	})
	if errors.Is(setErr, unix.EPERM) {
		setErr = c.SetWriteBuffer(MaxMessage + usualBuffer)
	}
	return errors.Join(err, setErr)
}

// ReadRequest reads what a client sends. Whoever calls it closes the files.
func ReadRequest(c *net.UnixConn) (Request, []*os.File, error) {
	var r Request
	files, err := receive(c, maxRequest, &r)
	return r, files, err
}

// ReadResponse reads what the helper answers.
func ReadResponse(c *net.UnixConn) (Response, []*os.File, error) {
	var r Response
	files, err := receive(c, MaxMessage, &r)
	return r, files, err
}

func receive(c *net.UnixConn, limit int, into any) (files []*os.File, err error) {
	size, err := sizeOfNext(c)
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(size, limit)+1)
	rights := make([]byte, unix.CmsgSpace(4*(maxFiles+1)))
	n, oobn, flags, _, err := c.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, err
	}
	files, err = parseRights(rights[:oobn])
	defer func() {
		if err != nil {
			CloseAll(files)
			files = nil
		}
	}()
	switch {
	case err != nil:
		return files, err
	case n == 0:
		return files, io.EOF
	case n > limit || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) > maxFiles:
		return files, errTooLong
	}
	return files, decodeEnvelope(data[:n], into)
}

// sizeOfNext waits for a message and returns how long it is (recv(2), MSG_TRUNC; a
// sequence of packets is as datagrams are): a buffer for the longest allowed would
// take most of the time of a request.
func sizeOfNext(c *net.UnixConn) (size int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peekErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			size, _, peekErr = unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_TRUNC)
			if peekErr != unix.EINTR {
				return peekErr != unix.EAGAIN
			}
		}
	})
	if err == nil && peekErr != nil {
		err = os.NewSyscallError("recvfrom", peekErr)
	}
	return size, err
}

// decodeEnvelope reads a request or a response. Of one of another protocol it
// reads no more than that, so that it is refused by its name and not for a field
// that this one does not have.
func decodeEnvelope(data []byte, into any) error {
	var who struct{ Protocol, Version string }
	if json.Unmarshal(data, &who) == nil && who.Protocol != "" && who.Protocol != protocol {
		switch m := into.(type) {
		case *Request:
			*m = Request{Protocol: who.Protocol, Version: who.Version}
		case *Response:
			*m = Response{Protocol: who.Protocol, Version: who.Version}
		}
		return nil
	}
	return decode(data, into)
}

func parseRights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials, which nobody asked for
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

// decode reads JSON and refuses fields that it does not know and anything behind
// the first value.
func decode(data []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return api.Errorf(api.KindInvalid, "cannot read the message: %w", err)
	}
	// More says no before a stray bracket.
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return api.Errorf(api.KindInvalid, "cannot read the message: something follows it")
	}
	return nil
}

// Decode reads a request's content into call, a pointer, and validates it against
// the descriptors that came with it.
func Decode[C Call](r Request, files int) (C, error) {
	var call C
	if len(r.Body) > 0 {
		if err := decode(r.Body, &call); err != nil {
			return call, err
		}
	}
	if err := call.Validate(); err != nil {
		return call, err
	}
	if least, most := call.Files(); files < least || files > most {
		return call, api.Errorf(api.KindInvalid, "%s takes %d to %d files, not %d", call.Verb(), least, most, files)
	}
	return call, nil
}

// CloseAll closes files.
func CloseAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// isGone tells whether an error means that the helper ended, or is not there, or
// that its queue is full (EAGAIN of connect(2)).
func isGone(err error) bool {
	for _, e := range []error{io.EOF, net.ErrClosed, unix.ECONNREFUSED, unix.ENOENT, unix.ECONNRESET, unix.EPIPE, unix.ENOTCONN, unix.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
