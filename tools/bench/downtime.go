package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/host/proc"
)

const (
	downtimeRounds = 25 // how often the daemon is killed, and how often stopped
	silencesLimit  = 100 * time.Second
	beat           = 5 * time.Millisecond // between the bytes of a stream
	echoPort       = 7
)

// publishEcho publishes echoPort at any port of this host.
var publishEcho = []api.PublishedPort{{Address: "127.0.0.1", GuestPort: echoPort, Protocol: "tcp"}}

// stream is something open through banger whose other end sends back what it gets. A
// byte goes there at every beat.
type stream struct {
	name string
	w    io.Writer
	r    io.Reader

	mu     sync.Mutex
	sent   int64
	came   int64
	last   time.Time     // when the last byte arrived
	silent time.Duration // the longest pause since the last call of longest
	err    error
	moved  chan struct{} // closed and replaced when bytes arrive
}

// downtime measures how long open streams pause when the daemon is killed, and when it
// is stopped and started: a session, and a connection to a published port. Every byte
// has to come back, once and in order.
func (b *bench) downtime(ctx context.Context) error {
	request := b.request("silence", true)
	request.Publish = publishEcho
	vm, err := b.client.VMs().Create(ctx, request, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	session, err := agentOf(b.client, vm.ID).Exec(ctx, api.Exec{Argv: []string{"cat"}})
	if err != nil {
		return err
	}
	defer session.Close()
	server, err := agentOf(b.client, vm.ID).Exec(ctx, api.Exec{Argv: []string{"busybox", "nc", "-ll", "-p", strconv.Itoa(echoPort), "-e", "cat"}})
	if err != nil {
		return err
	}
	defer server.Close()
	conn, err := dialEcho(ctx, vm.Publish[0].HostPort)
	if err != nil {
		return err
	}
	defer conn.Close()
	streams := []*stream{{name: "session", w: session.Stdin, r: session.Stdout}, {name: "port", w: conn, r: conn}}
	for _, s := range streams {
		s.last, s.moved = time.Now(), make(chan struct{})
		go s.write(ctx)
		go s.read()
	}
	if err := b.measureDowntimes(ctx, streams); err != nil {
		return err
	}
	return b.client.VMs().Delete(ctx, vm.ID, true, nil)
}

// dialEcho connects to the server in the guest as soon as it listens.
func dialEcho(ctx context.Context, port int) (net.Conn, error) {
	for {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if err = bounce(conn, conn); err == nil {
				return conn, conn.SetDeadline(time.Time{})
			}
			conn.Close()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the server in the guest: %w", err)
		}
	}
}

func (b *bench) measureDowntimes(ctx context.Context, streams []*stream) error {
	ways := []struct {
		name string
		do   func() error
	}{
		{"killed", func() error { return b.killDaemon(ctx) }},
		{"stopped", func() error { return daemonstart.StopAndWait(ctx, b.paths) }},
	}
	began := time.Now()
	for i := range downtimeRounds * len(ways) {
		if b.enough(began, silencesLimit) {
			b.report.note("the daemon was killed and stopped %d times, not %d", i, downtimeRounds*len(ways))
			return nil
		}
		way := ways[i%len(ways)]
		if err := b.settled(ctx, streams); err != nil {
			return err
		}
		for _, s := range streams {
			s.longest()
		}
		if err := way.do(); err != nil {
			return err
		}
		for _, s := range streams {
			if err := s.caughtUp(ctx); err != nil {
				return fmt.Errorf("%s, daemon %s: %w", s.name, way.name, err)
			}
			b.report.add("silent."+s.name+"."+way.name, s.longest())
		}
	}
	return nil
}

// settled waits until the daemon runs and the streams have carried data for a while.
func (b *bench) settled(ctx context.Context, streams []*stream) error {
	if _, err := b.client.Daemon().Status(ctx); err != nil {
		return err
	}
	select {
	case <-time.After(20 * beat):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, s := range streams {
		if err := s.caughtUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) killDaemon(ctx context.Context) error {
	status, err := b.client.Daemon().Status(ctx)
	if err != nil {
		return err
	}
	daemon, err := proc.Open(status.PID)
	if err != nil {
		return err
	}
	defer daemon.Close()
	return daemon.Kill(ctx, 10*time.Second)
}

func (s *stream) write(ctx context.Context) {
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		next := byte(s.sent)
		s.sent++
		s.mu.Unlock()
		if _, err := s.w.Write([]byte{next}); err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *stream) read() {
	buffer := make([]byte, 4<<10)
	for {
		n, err := s.r.Read(buffer)
		if err == nil {
			err = s.take(buffer[:n])
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// take records received bytes, and checks them.
func (s *stream) take(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, got := range data {
		if got != byte(s.came) {
			return fmt.Errorf("byte %d is %d", s.came, got)
		}
		s.came++
	}
	now := time.Now()
	s.silent = max(s.silent, now.Sub(s.last))
	s.last = now
	close(s.moved)
	s.moved = make(chan struct{})
	return nil
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
	close(s.moved)
	s.moved = make(chan struct{})
}

// longest returns the longest pause since its last call.
func (s *stream) longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := s.silent
	s.silent = 0
	return longest
}

// caughtUp waits until the next sent byte has come back, and so all before it.
func (s *stream) caughtUp(ctx context.Context) error {
	s.mu.Lock()
	upTo := s.sent + 1
	s.mu.Unlock()
	timeout := time.After(time.Minute)
	for {
		s.mu.Lock()
		came, err, moved := s.came, s.err, s.moved
		s.mu.Unlock()
		if err != nil || came >= upTo {
			return err
		}
		select {
		case <-moved:
		case <-timeout:
			return fmt.Errorf("%d of %d bytes came back within a minute", came, upTo)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
