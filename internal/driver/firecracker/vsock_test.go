package firecracker

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"banger/api"
)

// answers is a Firecracker that answers a request with fixed bytes and hangs up,
// or stays.
func answers(t testing.TB, answer []byte, stays bool) net.Conn {
	t.Helper()
	host, vmm := net.Pipe()
	go func() {
		request := make([]byte, len("CONNECT 1024\n"))
		if _, err := io.ReadFull(vmm, request); err != nil || string(request) != "CONNECT 1024\n" {
			t.Errorf("asked %q, %v", request, err)
		}
		_, _ = vmm.Write(answer)
		if !stays {
			vmm.Close()
		}
	}()
	t.Cleanup(func() { host.Close(); vmm.Close() })
	return host
}

func TestConnect(t *testing.T) {
	for answer, good := range map[string]bool{
		"OK 1073741824\n": true, "OK 0\n": true, "OK 4294967295\n": true,
		"OK 4294967296\n": false, "OK -1\n": false, "OK +1\n": false, "OK 01\n": false, "OK \n": false, "OK\n": false,
		"OK 1 \n": false, "OK  1\n": false, "ok 1\n": false, "\n": false, "OK 1\r\n": false, "O": false,
		"OK 11111111111111111111111111111\n": false, "HTTP/1.1 400 Bad Request\r\n": false,
	} {
		err := Connect(t.Context(), answers(t, []byte(answer), false), AgentPort)
		if (err == nil) != good || err != nil && (api.KindOf(err) != api.KindInternal || errors.Is(err, ErrNotListening)) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	if err := Connect(t.Context(), answers(t, nil, false), AgentPort); !errors.Is(err, ErrNotListening) {
		t.Errorf("hung up: %v", err)
	}
}

// TestConnectReadsNoFurther: what follows the answer is the agent's.
func TestConnectReadsNoFurther(t *testing.T) {
	conn := answers(t, []byte("OK 7\nhello"), false)
	if err := Connect(t.Context(), conn, AgentPort); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); string(rest) != "hello" || err != nil {
		t.Errorf("left: %q, %v", rest, err)
	}
}

func TestConnectGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Connect(ctx, answers(t, []byte("OK"), true), AgentPort); api.KindOf(err) != api.KindTimeout {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	host, vmm := net.Pipe()
	defer vmm.Close()
	if err := Connect(ctx, host, AgentPort); api.KindOf(err) != api.KindCanceled {
		t.Errorf("%v", err)
	}
}

func FuzzConnect(f *testing.F) {
	f.Add([]byte("OK 1073741824\nrest"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn := answers(t, answer, false)
		if err := Connect(ctx, conn, AgentPort); err != nil {
			if ctx.Err() != nil {
				t.Errorf("%q: %v", answer, err)
			}
			return
		}
		rest, err := io.ReadAll(conn)
		if end := len(answer) - len(rest); err != nil || end < 1 || answer[end-1] != '\n' || string(rest) != string(answer[end:]) {
			t.Errorf("%q: left %q, %v", answer, rest, err)
		}
	})
}
