package forward

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// maxDatagram is the longest payload of UDP over IPv4 (RFC 768, RFC 791).
	maxDatagram = 1<<16 - 1 - 20 - 8
	// idleFor is the time after which an unused flow of a sender ends. Linux's connection tracking
	// uses the same for a flow with traffic in both directions
	// (nf_conntrack_udp_timeout_stream).
	idleFor = 2 * time.Minute
	// maxFlows is how many senders there may be; others' datagrams are dropped. Each
	// costs a buffer for the longest datagram at both ends.
	maxFlows = 256
	// maxQueued is how many datagrams wait for a flow's reader; more are dropped, as
	// as with a full socket buffer.
	maxQueued = 64
)

// datagrams makes a connection from the datagrams of each sender.
type datagrams struct {
	conn  *net.UDPConn
	idle  time.Duration
	fresh chan *flow
	done  chan struct{} // closed when nothing more is read
	err   error

	mu    sync.Mutex
	flows map[netip.AddrPort]*flow
}

func newDatagrams(conn *net.UDPConn) *datagrams {
	d := &datagrams{
		conn: conn, idle: idleFor, fresh: make(chan *flow, 16), done: make(chan struct{}),
		flows: map[netip.AddrPort]*flow{},
	}
	go d.read()
	return d
}

// read gives each datagram to its flow. Datagrams that are not read in time are dropped.
func (d *datagrams) read() {
	defer close(d.done)
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			d.err = err
			d.endFlows()
			return
		}
		f, isNew := d.flow(from)
		if f == nil {
			continue
		}
		select {
		case f.queue <- append([]byte(nil), buf[:n]...):
		default:
		}
		if !isNew {
			continue
		}
		select {
		case d.fresh <- f:
		default:
			f.Close()
		}
	}
}

func (d *datagrams) flow(from netip.AddrPort) (f *flow, isNew bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flows[from]; f != nil {
		return f, false
	}
	if len(d.flows) >= maxFlows {
		return nil, false
	}
	f = &flow{of: d, from: from, queue: make(chan []byte, maxQueued), closed: make(chan struct{})}
	f.timer = time.AfterFunc(d.idle, func() { f.Close() })
	d.flows[from] = f
	return f, true
}

func (d *datagrams) endFlows() {
	d.mu.Lock()
	var all []*flow
	for _, f := range d.flows {
		all = append(all, f)
	}
	d.mu.Unlock()
	for _, f := range all {
		f.Close()
	}
}

// Accept waits for a datagram of a new sender.
func (d *datagrams) Accept() (net.Conn, error) {
	select {
	case f := <-d.fresh:
		return f, nil
	case <-d.done:
		return nil, d.err
	}
}

// Close ends every flow too.
func (d *datagrams) Close() error {
	err := d.conn.Close()
	<-d.done
	return err
}

// Addr returns the address on which datagrams are received.
func (d *datagrams) Addr() net.Addr { return d.conn.LocalAddr() }

// flow is the datagrams to and from one sender. It is a net.Conn, but without
// deadlines; a Read returns one datagram.
type flow struct {
	of    *datagrams
	from  netip.AddrPort
	queue chan []byte
	timer *time.Timer // ends it

	once   sync.Once
	closed chan struct{}
}

// Read returns the next datagram. Bytes that do not fit are lost.
func (f *flow) Read(p []byte) (int, error) {
	select {
	case b := <-f.queue:
		f.timer.Reset(f.of.idle)
		return copy(p, b), nil
	case <-f.closed:
		return 0, io.EOF
	}
}

// Write sends a datagram.
func (f *flow) Write(p []byte) (int, error) {
	select {
	case <-f.closed:
		return 0, net.ErrClosed
	default:
	}
	f.timer.Reset(f.of.idle)
	return f.of.conn.WriteToUDPAddrPort(p, f.from)
}

// Close removes the flow. The sender's next datagram begins another one.
func (f *flow) Close() error {
	f.once.Do(func() {
		close(f.closed)
		f.timer.Stop()
		f.of.mu.Lock()
		defer f.of.mu.Unlock()
		delete(f.of.flows, f.from)
	})
	return nil
}

// LocalAddr returns the address on which it receives datagrams.
func (f *flow) LocalAddr() net.Addr { return f.of.Addr() }

// RemoteAddr returns the sender.
func (f *flow) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(f.from) }

// SetDeadline is not supported.
func (f *flow) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is not supported.
func (f *flow) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is not supported.
func (f *flow) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
