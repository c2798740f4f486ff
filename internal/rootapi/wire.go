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
	// MaxMessage bounds a message, in bytes. The longest is a list of objects: that of two
	// thousand running VMs fits. The sender refuses a longer message.
	MaxMessage = 1 << 20
	maxRequest = 16 << 10 // much more than any valid request
	maxFiles   = 2
)

// protocol is the version of this package's contract, which must be the same on both sides.
// It is a variable for a test that builds a program with another one.
var protocol = "1"

// Request is a client's message.
type Request struct {
	Protocol string          `json:"protocol"`
	Version  string          `json:"version"` // of the client
	Verb     Verb            `json:"verb"`
	Body     json.RawMessage `json:"body"`
}

// Response is the helper's answer.
type Response struct {
	Protocol string          `json:"protocol"`
	Version  string          `json:"version"` // of the helper
	Error    *api.Error      `json:"error,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

// CheckProtocol refuses a request of another version of the contract.
func (r Request) CheckProtocol(version string) error {
	if r.Protocol == protocol {
		return nil
	}
	return mismatch(version, r.Version)
}

func mismatch(helper, daemon string) error {
	return api.Errorf(api.KindUnsupported, "bangerd-root %.60s and bangerd %.60s use different protocols", helper, daemon).
		WithHint("sudo banger system restart   (guests keep running)")
}

// NewResponse returns the helper's answer.
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

// errTooLong refuses a message that is not read completely.
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

// usualBuffer, in bytes, is below the default buffer of a socket (net.core.wmem_default,
// socket(7)): 208 KiB, including the kernel's overhead for a message.
const usualBuffer = 64 << 10

// enlarge makes a socket accept a whole message of any allowed size. Only root may exceed
// net.core.wmem_max, and only the helper sends such messages.
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

// ReadRequest reads a client's message. The caller closes the files.
func ReadRequest(c *net.UnixConn) (Request, []*os.File, error) {
	var r Request
	files, err := receive(c, maxRequest, &r)
	return r, files, err
}

// ReadResponse reads the helper's answer. The caller closes the files.
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

// sizeOfNext waits for a message and returns its size in bytes (recv(2), MSG_TRUNC, which also
// works for SOCK_SEQPACKET): allocating a buffer for the largest message would take most of
// the time of a request.
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

// decodeEnvelope reads a request or a response. If it has another protocol, nothing else is
// read, so that it is refused for its protocol and not for an unknown field.
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
			continue // credentials, which were not requested
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

// decode reads JSON, and refuses unknown fields and anything after the first value.
func decode(data []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return api.Errorf(api.KindInvalid, "cannot read the message: %w", err)
	}
	// More returns false before a stray bracket.
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return api.Errorf(api.KindInvalid, "cannot read the message: there is data after it")
	}
	return nil
}

// Decode reads and validates a request's content, and checks the number of its descriptors.
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

// isGone reports whether an error means that the helper has ended, or is not running, or that
// its queue is full (EAGAIN of connect(2)).
func isGone(err error) bool {
	for _, e := range []error{io.EOF, net.ErrClosed, unix.ECONNREFUSED, unix.ENOENT, unix.ECONNRESET, unix.EPIPE, unix.ENOTCONN, unix.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
