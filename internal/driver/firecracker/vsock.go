package firecracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"banger/api"
)

// ErrNotListening is the error of Connect if nobody in the guest listens: Firecracker then
// closes the connection. The guestReady socket tells when to try.
var ErrNotListening = errors.New("nobody listens there")

// maxAnswer is the length of the longest answer, "OK 4294967295\n".
const maxAnswer = 14

// Connect turns a new connection to Firecracker's vsock socket into one to a port of the guest
// (docs/vsock.md). It reads exactly the answer. If it fails, conn is unusable and the caller
// closes it.
func Connect(ctx context.Context, conn net.Conn, port uint32) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := connect(conn, port)
	if !stop() {
		kind := api.KindTimeout
		if ctx.Err() == context.Canceled {
			kind = api.KindCanceled
		}
		return api.Errorf(kind, "cannot connect to vsock port %d of the guest: %w", port, context.Cause(ctx))
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot connect to vsock port %d of the guest: %w", port, err)
	}
	return nil
}

func connect(conn net.Conn, port uint32) error {
	if _, err := fmt.Fprintf(conn, "CONNECT %d\n", port); err != nil {
		return err
	}
	answer := make([]byte, 0, maxAnswer)
	for one := make([]byte, 1); one[0] != '\n'; {
		if len(answer) == maxAnswer {
			return fmt.Errorf("the answer is %q", answer)
		}
		_, err := io.ReadFull(conn, one)
		if len(answer) == 0 && hungUp(err) {
			return ErrNotListening
		}
		if err != nil {
			return err
		}
		answer = append(answer, one[0])
	}
	if !isOK(string(answer)) {
		return fmt.Errorf("the answer is %q", answer)
	}
	return nil
}

// hungUp reports whether a read error means that the other end has closed the connection.
func hungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// isOK reports whether an answer is "OK PORT\n". The port, which is the host's end, is not
// used.
func isOK(answer string) bool {
	number, ok := strings.CutPrefix(strings.TrimSuffix(answer, "\n"), "OK ")
	port, err := strconv.ParseUint(number, 10, 32)
	return ok && err == nil && strconv.FormatUint(port, 10) == number
}
