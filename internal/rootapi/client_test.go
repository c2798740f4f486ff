package rootapi

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// helper answers at a path as do says; false ends the connection unanswered.
func helper(t *testing.T, path string, do func(Request, []*os.File) (Response, []*os.File, bool)) {
	t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			request, files, err := ReadRequest(conn)
			if err == nil {
				if r, give, ok := do(request, files); ok {
					_ = Send(conn, r, give)
				}
			}
			CloseAll(files)
			conn.Close()
		}
	}()
}

func client(t *testing.T) *Client {
	return &Client{Socket: filepath.Join(t.TempDir(), "helper.sock"), Version: "1.2.3", Patience: 10 * time.Second}
}

func hello(Request, []*os.File) (Response, []*os.File, bool) {
	return NewResponse("1.2.4", HelloAnswer{Version: "1.2.4", PID: 7}, nil), nil, true
}

func TestClientAsks(t *testing.T) {
	noLeak(t)
	c := client(t)
	helper(t, c.Socket, func(r Request, files []*os.File) (Response, []*os.File, bool) {
		if r.Version != c.Version || r.Verb != DiskAttach || len(files) != 1 {
			return NewResponse("1", nil, errors.New("not what was sent")), nil, true
		}
		return NewResponse("1", Device{Major: 7, Minor: 3}, nil), files, true
	})
	var d Device
	got, err := c.Do(t.Context(), DiskAttachCall{VM: VM{id}, Mode: Plain}, &d, null(t, 1)...)
	if err != nil || d.Major != 7 || len(got) != 1 {
		t.Errorf("%+v, %d files, %v", d, len(got), err)
	}
	CloseAll(got)
}

func TestClientSendsNothingInvalid(t *testing.T) {
	c := client(t) // nobody listens
	if _, err := c.Do(t.Context(), VMKillCall{VM: VM{".."}}, nil); api.KindOf(err) != api.KindInvalid {
		t.Error(err)
	}
}

func TestNoHelperIsWaitedForAndNoLonger(t *testing.T) {
	c := client(t)
	c.Patience = 100 * time.Millisecond
	began := time.Now()
	_, err := c.Do(t.Context(), HelloCall{}, nil)
	if took := time.Since(began); took < c.Patience || took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if e := api.AsError(err); e == nil || e.Kind != api.KindTimeout || e.Hint == "" {
		t.Errorf("%+v", e)
	}
}

func TestHelperThatComesBackIsAsked(t *testing.T) {
	c := client(t)
	got := make(chan error, 1)
	go func() {
		var answer HelloAnswer
		_, err := c.Do(context.Background(), HelloCall{}, &answer)
		if err == nil && answer.PID != 7 {
			err = errors.New("another answer")
		}
		got <- err
	}()
	time.Sleep(3 * retryPause) // it is looked for in vain first
	helper(t, c.Socket, hello)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// TestHelperThatEndsMeanwhile: also when that was after more than the patience,
// which counts from when it was seen last.
func TestHelperThatEndsMeanwhile(t *testing.T) {
	noLeak(t)
	c := client(t)
	c.Patience = 100 * time.Millisecond
	var asked atomic.Int32
	helper(t, c.Socket, func(r Request, files []*os.File) (Response, []*os.File, bool) {
		if asked.Add(1) == 1 {
			time.Sleep(2 * c.Patience)
			return Response{}, nil, false
		}
		return hello(r, files)
	})
	if _, err := c.Do(t.Context(), BootPutCall{Digest: sum}, nil, null(t, 1)...); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestHelperThatEndsAtEveryRequest(t *testing.T) {
	c := client(t)
	var asked atomic.Int32
	helper(t, c.Socket, func(Request, []*os.File) (Response, []*os.File, bool) {
		asked.Add(1)
		return Response{}, nil, false
	})
	if _, err := c.Do(t.Context(), HelloCall{}, nil); api.KindOf(err) != api.KindTimeout || asked.Load() != maxDeaths {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestHelperThatNeverAnswers(t *testing.T) {
	noLeak(t)
	c := client(t)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: c.Socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.limit = 50 * time.Millisecond
	if _, err := c.Do(t.Context(), HelloCall{}, nil); api.KindOf(err) != api.KindTimeout {
		t.Error(err)
	}
	c.limit = 0
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, HelloCall{}, nil); api.KindOf(err) != api.KindCanceled || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := c.Do(ctx, HelloCall{}, nil); api.KindOf(err) != api.KindCanceled {
		t.Errorf("cancelled before it was asked: %v", err)
	}
}

func TestCancelledWhileNoHelperIsThere(t *testing.T) {
	c := client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, HelloCall{}, nil); api.KindOf(err) != api.KindCanceled {
		t.Error(err)
	}
}

func TestDescriptorsOfARefusalAreClosed(t *testing.T) {
	noLeak(t)
	c := client(t)
	files := null(t, 2)
	helper(t, c.Socket, func(Request, []*os.File) (Response, []*os.File, bool) {
		return NewResponse("1", nil, api.Errorf(api.KindConflict, "no")), files, true
	})
	if got, err := c.Do(t.Context(), HelloCall{}, nil); api.KindOf(err) != api.KindConflict || len(got) != 0 {
		t.Errorf("%d files, %v", len(got), err)
	}
}

func TestSocketOfSomebodyElse(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may connect to any socket; roothelper's tests ask as another user")
	}
	c := client(t)
	helper(t, c.Socket, hello)
	if err := os.Chmod(c.Socket, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), HelloCall{}, nil); api.KindOf(err) != api.KindDenied {
		t.Error(err)
	}
}
