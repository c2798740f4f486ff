package guest_test

import (
	"bytes"
	"io"
	"testing"

	"banger/internal/agent"
	"banger/internal/agentproto"
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
