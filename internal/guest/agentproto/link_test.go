package agentproto

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"banger/api"
)

func hello(t testing.TB) (Hello, []byte) {
	h := NewHello("test", time.Unix(1, 0))
	f, err := greetingFrame(frameHello, h.Nonce, h)
	if err != nil {
		t.Fatal(err)
	}
	return h, f
}

func TestScannerFindsAGreetingBehindAnything(t *testing.T) {
	_, greeting := hello(t)
	data := appendFrame(nil, frame{kind: frameData, session: 42, payload: bytes.Repeat([]byte("old"), 5000)})
	for _, before := range [][]byte{[]byte("noise"), data[:5], data[:27], data[:28], data[:9000], data[:len(data)-1], greeting[:len(greeting)-1], bytes.Repeat(magic[:], 3)} {
		// The far end stays silent: the greeting must be seen without a byte more.
		r, w := io.Pipe()
		go func() { w.Write(before); w.Write(greeting) }()
		got := make(chan frame, 1)
		go func() {
			s := newScanner(r)
			for {
				f, err := s.next()
				if err != nil || f.kind == frameHello {
					got <- f
					return
				}
			}
		}()
		select {
		case f := <-got:
			var h Hello
			if err := parseGreeting(f, &h, &h.Nonce); err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("behind %d bytes the greeting was not seen", len(before))
		}
		r.Close()
	}
}

func TestGreetingInUserDataIsNone(t *testing.T) {
	_, greeting := hello(t)
	f := appendFrame(nil, frame{kind: frameData, session: 42, payload: bytes.Repeat(greeting, 10)})
	s := newScanner(bytes.NewReader(f[:len(f)-1]))
	if f, err := s.next(); err != io.EOF {
		t.Fatal(f.kind, err)
	}
}

func TestOtherProtocol(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		l := NewListener(there, "boot", "9")
		l.ack.Protocol = Protocol + 1
		l.Accept()
	}()
	_, _, err := Greet(t.Context(), here, NewHello("test", time.Now()))
	there.Close()
	if api.KindOf(err) != api.KindUnsupported || err.Error() != "the guest's agent 9 speaks protocol 2, this banger speaks 1" {
		t.Fatal(err)
	}
}

func TestGreetGivesUp(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	go io.Copy(io.Discard, there)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := Greet(ctx, here, NewHello("test", time.Now())); api.KindOf(err) != api.KindTimeout {
		t.Fatal(err)
	}
}

func TestMessageLimits(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMessage(&b, Request{Op: string(make([]byte, MaxMessage))}); err == nil {
		t.Error("a long message was written")
	}
	var req Request
	if err := ReadMessage(bytes.NewReader([]byte{0xff, 0, 0, 0}), &req); err == nil {
		t.Error("a long message was read")
	}
	if err := ReadMessage(bytes.NewReader([]byte{0, 0, 0, 9, '{'}), &req); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func FuzzScanner(f *testing.F) {
	_, greeting := hello(f)
	data := appendFrame(nil, frame{kind: frameData, session: 7, payload: []byte("payload")})
	f.Add(append(data[:20:20], greeting...))
	f.Add(append(data, data...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScanner(io.MultiReader(bytes.NewReader(b), bytes.NewReader(make([]byte, headerSize+maxPayload)), bytes.NewReader(greeting)))
		for {
			f, err := s.next()
			if err != nil {
				t.Fatal("the greeting behind it was not found")
			}
			var h Hello
			if f.kind == frameHello && parseGreeting(f, &h, &h.Nonce) == nil && h.Version == "test" {
				return
			}
		}
	})
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0f{\"op\":\"health\"}"))
	f.Add([]byte("\x00\x00\x00\x1d{\"op\":\"freeze\",\"attempt\":\"\"}"))
	f.Add([]byte("\x00\x00\x00\x2d{\"frozen\":{\"outside\":[{\"pid\":1},{}]}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var req Request
		var answer Response
		_ = ReadMessage(bytes.NewReader(b), &req)
		_ = ReadMessage(bytes.NewReader(b), &answer)
	})
}
