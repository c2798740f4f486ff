package daemon

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/client"
	"banger/internal/daemon/relay"
	"banger/internal/host/fsx"
)

// guestEnd makes the next DialGuest of r return a connection, whose other end
// it returns.
func (r *rig) guestEnd() *net.UnixConn {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "guest.sock")
	l, err := fsx.ListenUnix(path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	near, err := fsx.DialUnix(context.Background(), path)
	if err != nil {
		r.t.Fatal(err)
	}
	far, err := l.AcceptUnix()
	if err != nil {
		r.t.Fatal(err)
	}
	far.SetDeadline(time.Now().Add(soon))
	r.fake.guests.dial = func() (net.Conn, error) { return near, nil }
	r.t.Cleanup(func() { far.Close(); near.Close() })
	return far
}

// stream opens a stream; early goes out together with the request.
func (r *rig) stream(early string) *net.UnixConn {
	r.t.Helper()
	conn, err := fsx.DialUnix(context.Background(), r.env.Paths.Socket())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(soon))
	request := "POST /v1/vms/fox/stream HTTP/1.1\r\nHost: banger\r\nConnection: Upgrade\r\nUpgrade: banger-stream\r\nContent-Length: 0\r\n\r\n"
	if _, err := io.WriteString(conn, request+early); err != nil {
		r.t.Fatal(err)
	}
	found, err := r.fake.vms.Find("fox")
	if err != nil {
		r.t.Fatal(err)
	}
	answer := answerTo(found)
	// One byte at a time, so that nothing of the stream is read ahead.
	head := bufio.NewReaderSize(io.LimitReader(conn, int64(len(answer))), 16)
	res, err := http.ReadResponse(head, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatalf("upgrade: %v, %v", res, err)
	}
	return conn
}

// TestStreamTellsOfTheVM: one request is enough for a command.
func TestStreamTellsOfTheVM(t *testing.T) {
	r := newRig(t)
	r.fake.vms.image = &api.ImageConfig{Env: []string{"A=ä\r\nB"}, User: "app", Cmd: []string{"not told"}}
	r.guestEnd()
	c := client.New(r.env.Paths.Socket())
	got := c.Guest("fox").Complete(api.Exec{})
	if got.Env != nil {
		t.Errorf("before a stream is open: %+v", got)
	}
	g := c.Guest("fox")
	conn, err := g.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	want := api.Exec{Argv: []string{"id"}, Env: r.fake.vms.image.Env, User: "app"}
	if diff := cmp.Diff(want, g.Complete(api.Exec{Argv: []string{"id"}})); diff != "" {
		t.Error(diff)
	}
	if name := c.Guest(fox.ID).Name(); name != fox.ID {
		t.Errorf("before a stream is open it is called %s", name)
	}
	g = c.Guest(fox.ID)
	r.guestEnd()
	if conn, err = g.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if name := g.Name(); name != "fox" {
		t.Errorf("it is called %s", name)
	}
}

func expect(t *testing.T, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func expectEnd(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d, %v, want the end", n, err)
	}
}

func TestStreamKeepsHalfClose(t *testing.T) {
	r := newRig(t)
	guest, client := r.guestEnd(), r.stream("early ")
	io.WriteString(client, "late")
	expect(t, guest, "early late")
	client.CloseWrite()
	expectEnd(t, guest)
	io.WriteString(guest, "still here")
	expect(t, client, "still here")
	guest.CloseWrite()
	expectEnd(t, client)
	if !relay.HungUp(guest) {
		t.Error("the channel is still open")
	}
}

func TestStreamGuestEndsFirst(t *testing.T) {
	r := newRig(t)
	guest, client := r.guestEnd(), r.stream("")
	guest.CloseWrite()
	expectEnd(t, client)
	io.WriteString(client, "more")
	expect(t, guest, "more")
	client.CloseWrite()
	expectEnd(t, guest)
}

func TestStreamEndsWithItsClient(t *testing.T) {
	for name, leave := range map[string]func(*net.UnixConn){
		"at once":          func(c *net.UnixConn) { c.Close() },
		"after half close": func(c *net.UnixConn) { c.CloseWrite(); time.Sleep(20 * time.Millisecond); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			guest, client := r.guestEnd(), r.stream("")
			leave(client)
			expectEnd(t, guest)
			// The guest sent nothing: only the kernel told that the client has gone.
			if !relay.HungUp(guest) {
				t.Error("the channel is still open")
			}
		})
	}
}

func TestStreamIsCutWhenTheDaemonStops(t *testing.T) {
	r := newRig(t)
	guest, client := r.guestEnd(), r.stream("")
	r.stop()
	expectEnd(t, guest)
	expectEnd(t, client)
}

// TestLinksAreClosedBeforeStreamsAreCut: while the services let go of the guests,
// a stream is whole; then it is cut.
func TestLinksAreClosedBeforeStreamsAreCut(t *testing.T) {
	r := newRig(t)
	guest, client := r.guestEnd(), r.stream("")
	letGo := make(chan struct{})
	r.fake.detach = func() {
		defer close(letGo)
		io.WriteString(guest, "last words")
		expect(t, client, "last words")
	}
	r.stop()
	<-letGo
	expectEnd(t, guest)
	expectEnd(t, client)
}

// TestStreamReaderThatStops writes until nothing moves any more: what is then
// under way is bounded by socket buffers and two relay buffers. Then the
// reader goes on, and not one byte is lost or out of order.
func TestStreamReaderThatStops(t *testing.T) {
	r := newRig(t)
	guest, client := r.guestEnd(), r.stream("")
	const total = 8 << 20
	data := make([]byte, total)
	noise := rand.NewChaCha8([32]byte{1})
	noise.Read(data)
	guest.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	underWay, err := guest.Write(data)
	if err == nil || underWay > 2<<20 {
		t.Fatalf("%d bytes were taken from the guest while nobody read: %v", underWay, err)
	}
	guest.SetWriteDeadline(time.Now().Add(soon))
	go func() {
		guest.Write(data[underWay:])
		guest.CloseWrite()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes of %d, %v", len(got), total, err)
	}
}
