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

// ErrNotListening is what Connect returns where nobody in the guest listens:
// Firecracker hangs up then. The doorbell says when it is worth to try.
var ErrNotListening = errors.New("nobody listens there")

// maxAnswer is the longest answer there is, "OK 4294967295\n".
const maxAnswer = 14

// Connect makes a new connection to Firecracker's vsock socket one to a port of
// the guest (docs/vsock.md). It reads not a byte more than the answer. Where it
// fails, conn is of no more use and the caller closes it.
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

// hungUp tells whether an error of reading says that the other end is gone.
func hungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// isOK tells whether an answer is "OK PORT\n". The port, which is the host's end,
// is of no use.
func isOK(answer string) bool {
	number, ok := strings.CutPrefix(strings.TrimSuffix(answer, "\n"), "OK ")
	port, err := strconv.ParseUint(number, 10, 32)
	return ok && err == nil && strconv.FormatUint(port, 10) == number
}
