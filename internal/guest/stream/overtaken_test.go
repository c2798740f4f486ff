package stream

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// TestOvertakenAttemptIsNotServed holds the first attempt back until the second
// has moved everything: its offsets are outdated, and must not end the pipe.
func TestOvertakenAttemptIsNotServed(t *testing.T) {
	client, server := New(NewID()), New(ID{})
	here, there := net.Pipe()
	var first *Attachment
	go func() { _ = client.Attach(here, nil) }()
	first, err := Accept(there)
	if err != nil {
		t.Fatal(err)
	}
	here.Close()
	go func() {
		client.Write([]byte("hello"))
		client.CloseWrite()
	}()
	stop := join(t, client, server)
	if b, err := io.ReadAll(server); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := first.Serve(server); err == nil {
		t.Error("the first attempt was served")
	}
	server.Write([]byte("and back"))
	server.CloseWrite()
	if b, err := io.ReadAll(client); err != nil || string(b) != "and back" {
		t.Errorf("%q, %v", b, err)
	}
	<-server.Flushed()
	client.Close()
	server.Close()
	stop()
}

// TestCutsAboveTheFrameSize cuts connections where frames always fit, at random,
// with readers and writers at random speeds: no end of any pipe may get stuck.
func TestCutsAboveTheFrameSize(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 2))
			client, server := New(NewID()), New(ID{})
			var work, moving sync.WaitGroup
			work.Go(func() { cutAgain(client, server, random) })
			size := 1 + rand.New(rand.NewPCG(seed, 3)).IntN(2<<20)
			var sent, got [2]string
			ends := [2]*Pipe{client, server}
			for i := range ends {
				moving.Go(func() { sent[i] = checked(t, ends[i], size, seed+uint64(i)) })
				moving.Go(func() { got[1-i] = received(t, ends[i], size, seed) })
			}
			done := make(chan struct{})
			go func() {
				moving.Wait()
				<-client.Flushed()
				<-server.Flushed()
				close(done)
			}()
			select {
			case <-done:
			case <-time.After(2 * time.Minute):
				t.Errorf("stuck: client %s, server %s", state(client), state(server))
			}
			client.Close()
			server.Close()
			work.Wait()
			if sent != got {
				t.Errorf("sent %v, received %v", sent, got)
			}
		})
	}
}

// cutAgain attaches the two ends again and again until the client's is over.
func cutAgain(client, server *Pipe, random *rand.Rand) {
	for {
		select {
		case <-client.Done():
			return
		default:
		}
		here, there := net.Pipe()
		limits := [2]int{40000 + random.IntN(400000), 40000 + random.IntN(400000)}
		served := make(chan struct{})
		go func() {
			defer close(served)
			wish, err := Accept(&cutConn{Conn: there, left: limits[0]})
			if err != nil {
				there.Close()
				return
			}
			_ = wish.Serve(server)
		}()
		_ = client.Attach(&cutConn{Conn: here, left: limits[1]}, nil)
		if random.IntN(2) == 0 { // else the next attempt runs into this one's end
			<-served
		}
	}
}

func received(t *testing.T, p *Pipe, size int, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 4))
	sum := sha256.New()
	total := 0
	for {
		b := make([]byte, 1+random.IntN(70000))
		n, err := p.Read(b)
		sum.Write(b[:n])
		total += n
		if err == io.EOF && total == size {
			return hexSum(sum)
		}
		if err != nil {
			t.Errorf("read %d bytes of %d, %v", total, size, err)
			return ""
		}
	}
}

func state(p *Pipe) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("{out %d+%d fin %v flushed %v, in %d+%d fin %v, attached %v, error %v}",
		p.outBase, p.out.len(), p.outFin, p.flushed, p.inBase, p.in.len(), p.inFin, p.att != nil, p.err)
}
