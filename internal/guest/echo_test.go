package guest_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"banger/internal/guest/agent"
	"banger/internal/guest/agentproto"
)

// The agent's echo, which measurements use, gives back every byte, and leaves
// nothing behind when the host closes its channel.
func TestEcho(t *testing.T) {
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b1"}))
	channel, err := link.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	if err := agentproto.WriteMessage(channel, agentproto.Request{Op: agentproto.OpEcho}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100, 100 << 10} {
		sent, got := bytes.Repeat([]byte{byte(size)}, size), make([]byte, size)
		if _, err := channel.Write(sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(channel, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: they came back changed, %v", size, err)
		}
	}
}

// TestStuckChannels: whose other end does not take anything is in nobody's way, however many
// they are.
func TestStuckChannels(t *testing.T) {
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b1"}))
	echo := func() net.Conn {
		channel, err := link.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { channel.Close() })
		if err := agentproto.WriteMessage(channel, agentproto.Request{Op: agentproto.OpEcho}); err != nil {
			t.Fatal(err)
		}
		return channel
	}
	const many = 1 << 20 // more than the windows of both ends hold
	var stuck sync.WaitGroup
	defer stuck.Wait()
	var written atomic.Int64
	for range 8 {
		channel := echo()
		defer channel.Close()
		stuck.Go(func() {
			for {
				n, err := channel.Write(make([]byte, 32<<10)) // nobody reads what comes back
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	for last := int64(-1); last != written.Load() || last == 0; time.Sleep(300 * time.Millisecond) {
		last = written.Load()
	}
	sent, got := bytes.Repeat([]byte("abcdefg"), many/7), make([]byte, many/7*7)
	channel := echo()
	go func() { _, _ = channel.Write(sent) }()
	_ = channel.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(channel, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("another channel beside them: %v", err)
	}
}
