package stdio

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
)

type heard struct{ io.Reader }

func (heard) Write(p []byte) (int, error) { return len(p), nil }

func FuzzMux(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, kindData, []byte{0}, []byte("input")), kindEOF, []byte{0}))
	f.Add(appendFrame(appendFrame(nil, kindSignal, []byte{15}), kindResize, []byte{0, 24, 0, 80}))
	f.Add(appendFrame(nil, kindCredit, []byte{1, 0, 0, 0, 9}))
	f.Add(appendFrame(nil, kindExit, []byte(`{"code":1,"error":{"kind":"internal","message":"m"}}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := Handler{Signal: func(int) {}, Resize: func(uint16, uint16) {}, Exit: func(Exit) {}}
		for _, in := range [][]int{{Stdin}, {Stdout, Stderr}} {
			m := New(heard{bytes.NewReader(b)}, h, in...)
			_ = m.Run()
			for _, id := range in {
				if n, _ := io.Copy(io.Discard, m.In(id)); n > window {
					t.Error("more than a window was taken")
				}
			}
		}
	})
}

func FuzzReadOpen(f *testing.F) {
	var b bytes.Buffer
	_ = WriteOpen(&b, Open{Exec: &api.Exec{Argv: []string{"true"}}})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ReadOpen(bytes.NewReader(b)) })
}

// gate is a terminal that stands still until it is opened.
type gate chan struct{}

func (g gate) Write(p []byte) (int, error) {
	<-g
	return len(p), nil
}

// TestNotReadBeforeItIsWritten: what a client could not write to its terminal counts as
// unread, however long that takes.
func TestNotReadBeforeItIsWritten(t *testing.T) {
	here, there := net.Pipe()
	agent, client := New(there, Handler{}, Stdin), New(here, Handler{}, Stdout, Stderr)
	var work sync.WaitGroup
	defer work.Wait()
	defer here.Close()
	work.Go(func() { _ = agent.Run() })
	work.Go(func() { _ = client.Run() })
	terminal := make(gate)
	work.Go(func() { _, _ = io.Copy(terminal, client.In(Stdout)) })
	out := agent.Out(Stdout)
	out.Keep()
	if _, err := io.WriteString(out, "unread"); err != nil {
		t.Fatal(err)
	}
	out.Settle(5 * idleAfter)
	if got := out.Unread(); string(got) != "unread" {
		t.Errorf("%q is unread before it is written", got)
	}
	close(terminal)
	out.Settle(20 * time.Second)
	if got := out.Unread(); len(got) > 0 {
		t.Errorf("%q is unread after that", got)
	}
}

func TestLongErrorIsCut(t *testing.T) {
	var b bytes.Buffer
	m := New(&b, Handler{}, Stdin)
	long := strings.Repeat("x", 1<<20)
	controls := strings.Repeat("\x01", 1<<20)
	for _, sent := range []api.Error{
		{Message: long, Hint: long}, {Message: controls, Hint: controls}, {Message: "short", Hint: long}, {Message: long},
	} {
		b.Reset()
		if err := m.Exit(Exit{Error: &sent}); err != nil {
			t.Fatal(err)
		}
		var got string
		client := New(&b, Handler{Exit: func(e Exit) { got = e.Error.Message }}, Stdout, Stderr)
		if err := client.Run(); err != nil || got == "" || !strings.HasPrefix(sent.Message, got) {
			t.Errorf("%.20q: got %.20q, %v", sent.Message, got, err)
		}
	}
}
