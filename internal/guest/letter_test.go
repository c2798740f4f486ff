package guest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
)

// sizes are the lengths of what was written to a connection.
type sizes struct {
	net.Conn
	mu  sync.Mutex
	all []int
}

func (s *sizes) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.all = append(s.all, len(p))
	s.mu.Unlock()
	return s.Conn.Write(p)
}

// take returns the lengths since the last call.
func (s *sizes) take() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// TestOneLetterOnTheLine: what docs/architecture.md says about the way of one byte is so.
func TestOneLetterOnTheLine(t *testing.T) {
	conn, err := net.Dial("unix", startAgent(t, agent.Options{Root: t.TempDir()}))
	if err != nil {
		t.Fatal(err)
	}
	line := &sizes{Conn: conn}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	link, err := guest.Connect(ctx, line, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	s, err := (&guest.Client{Dial: link.Open}).Exec(t.Context(), api.Exec{Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	letter := make([]byte, 1)
	echo := func() []int {
		if _, err := s.Stdin.Write([]byte("a")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stdout.Read(letter); err != nil {
			t.Fatal(err)
		}
		return line.take()
	}
	echo() // with the beginning of the session
	time.Sleep(100 * time.Millisecond)
	line.take()
	// Acknowledgements of the echo may come behind the letter.
	const want = 1 + 5 + 21 + 12 + 28
	if got := echo(); len(got) == 0 || got[0] != want {
		t.Errorf("a letter is written as %v, not as %d bytes", got, want)
	}

	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	if says := fmt.Sprintf("So the letter is %d bytes on the line", want); !strings.Contains(string(page), says) {
		t.Errorf("docs/architecture.md does not say %q", says)
	}
}
