package names

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxConns is how many connections are served at once: askers use UDP, as all answers fit.
	maxConns = 16
	// connTime bounds a connection, so that idle ones make room.
	connTime = 10 * time.Second
	// errorPause is the pause after an error of a socket, so that one that repeats costs little.
	errorPause = 100 * time.Millisecond
)

// serve answers on both sockets until ctx ends, and closes them.
func serve(ctx context.Context, udp net.PacketConn, tcp net.Listener, lookup Lookup) {
	defer context.AfterFunc(ctx, func() {
		udp.Close()
		tcp.Close()
	})()
	var wg sync.WaitGroup
	wg.Go(func() { packets(ctx, udp, lookup) })
	wg.Go(func() { connections(ctx, tcp, lookup) })
	wg.Wait()
}

func packets(ctx context.Context, udp net.PacketConn, lookup Lookup) {
	// A byte more, so that what is too long is seen: it is cut, and no question.
	buf := make([]byte, udpSize+1)
	for {
		n, from, err := udp.ReadFrom(buf)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case err != nil: // of an answer before, which nobody received
			pause(ctx)
		case n <= udpSize:
			if answer := Answer(buf[:n], lookup); answer != nil {
				_, _ = udp.WriteTo(answer, from) // a lost answer: the asker asks again
			}
		}
	}
}

func connections(ctx context.Context, tcp net.Listener, lookup Lookup) {
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, maxConns)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := tcp.Accept()
		if err != nil {
			<-free
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			pause(ctx)
			continue
		}
		wg.Go(func() {
			defer func() { <-free }()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			connection(conn, lookup)
		})
	}
}

// connection answers the messages of a connection, each with its length before it (RFC 1035,
// 4.2.2), until one is not a question.
func connection(conn net.Conn, lookup Lookup) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(connTime)) != nil {
		return
	}
	var length [2]byte
	for {
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, message); err != nil {
			return
		}
		answer := Answer(message, lookup)
		if answer == nil {
			return
		}
		framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
		if _, err := conn.Write(framed); err != nil {
			return
		}
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(errorPause):
	}
}
