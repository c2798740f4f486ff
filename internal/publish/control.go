package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// order is a request of the daemon to a forwarder: one packet, as JSON, and for Add with the bound
// socket. A forwarder may be older or newer than the daemon.
type order struct {
	Add    *api.PublishedPort `json:"add,omitempty"`
	Remove *api.PublishedPort `json:"remove,omitempty"`
}

// report is the answer: the ports that are served then.
type report struct {
	Ports []api.PublishedPort `json:"ports"`
	Error string              `json:"error,omitempty"`
}

// errNoResponse means that a forwarder has not answered a request.
var errNoResponse = errors.New("did not respond")

// closed says whether a question was not answered because the other end has closed its
// sockets. A forwarder that goes on answers whatever it gets.
func closed(err error) bool {
	return slices.ContainsFunc([]error{io.EOF, io.ErrUnexpectedEOF, unix.ECONNRESET, unix.ECONNREFUSED, unix.EPIPE},
		func(sign error) bool { return errors.Is(err, sign) })
}

const (
	// controlTime bounds one request and its answer.
	controlTime = 10 * time.Second
	// maxPacket holds more ports than there may be.
	maxPacket = 64 << 10
)

// ask sends an order to the forwarder of the VM in dir, with a socket if there is one to pass.
func ask(ctx context.Context, dir string, o order, socket *os.File) ([]api.PublishedPort, error) {
	conn, err := fsx.DialUnix(ctx, filepath.Join(dir, paths.VMPortsSocket))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(controlTime))
	body, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var rights []byte
	if socket != nil {
		rights = unix.UnixRights(int(socket.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(body, rights, nil); err != nil {
		return nil, err
	}
	if err := conn.CloseWrite(); err != nil {
		return nil, err
	}
	var answer report
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Ports, nil
}

// readOrder is the other end of ask.
func readOrder(conn *net.UnixConn) (order, *os.File, error) {
	_ = conn.SetDeadline(time.Now().Add(controlTime))
	var o order
	body, space := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4))
	n, spaceUsed, _, _, err := conn.ReadMsgUnix(body, space)
	if err != nil {
		return o, nil, err
	}
	socket, err := received(space[:spaceUsed])
	if err == nil {
		err = json.Unmarshal(body[:n], &o)
	}
	if err == nil && (o.Add != nil) != (socket != nil) {
		err = errors.New("an order and its socket do not fit")
	}
	if err != nil && socket != nil {
		socket.Close()
	}
	return o, socket, err
}

// received takes the descriptor out of a message (unix(7), SCM_RIGHTS).
func received(space []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(space)
	if err != nil || len(messages) == 0 {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("received %d descriptors: %w", len(fds), err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "port"), nil
}
