//go:build linux

// Package netns makes the networks of VMs in system mode that package network plans:
// namespaces, links, addresses and routes by netlink, the firewall's tables by nft(8),
// which is not run while a VM is created unless that is isolated. It needs CAP_NET_ADMIN and CAP_SYS_ADMIN;
// only the root helper uses it.
//
// It stores no state of a VM. The kernel's objects with a VM's name are the record, and
// every call can be repeated: Detach succeeds if there is nothing, and Attach if
// everything exists.
package netns

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/network"
)

// RunDir is the directory of network namespaces' names (ip-netns(8)).
const RunDir = "/run/netns"

// Options configure a Manager.
type Options struct {
	Outer netip.Prefix // as in network.Spec
	Pool  int          // how many namespaces are prepared in advance; 0: none
	Dir   string       // the directory of namespaces' names; "": RunDir
	Log   *slog.Logger // nil: slog.Default
}

// Manager makes and removes VMs' networks in the network namespace in which it was
// created. It may be used from many goroutines; the caller must not use it for the same
// VM concurrently.
type Manager struct {
	outer netip.Prefix
	rules string // the tables of a namespace
	// The tables of an isolated VM's. The pool has none of those: few VMs are isolated.
	isolatedRules string
	dir           string
	log           *slog.Logger
	host          *netlink.Handle
	pool          pool
}

// New returns a Manager. Its pool is empty until Fill, or the first Attach.
func New(o Options) (*Manager, error) {
	if !o.Outer.IsValid() {
		o.Outer = network.DefaultOuter
	}
	rules, err := network.GuestTables(o.Outer, false)
	if err != nil {
		return nil, err
	}
	isolated, err := network.GuestTables(o.Outer, true)
	if err != nil {
		return nil, err
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot talk to the kernel about links: %w", err)
	}
	m := &Manager{outer: o.Outer, rules: rules, isolatedRules: isolated, dir: cmp.Or(o.Dir, RunDir), log: o.Log, host: host}
	if m.log == nil {
		m.log = slog.Default()
	}
	m.pool.init(o.Pool, m.makeSpace, m.log)
	return m, nil
}

// Fill starts to fill the pool.
func (m *Manager) Fill() { m.pool.fill() }

// Close closes the prepared namespaces, which removes them. VMs' networks stay.
func (m *Manager) Close() {
	m.pool.close()
	m.host.Close()
}

// makeSpace makes a namespace for a guest, without a name.
func (m *Manager) makeSpace(ctx context.Context) (*space, error) { return newSpace(ctx, m.rules) }

// pool prepares spaces. They exist only by their descriptors, so they end with this
// process, however it ends, and cannot leak.
type pool struct {
	make func(context.Context) (*space, error)
	size int
	log  *slog.Logger

	ctx    context.Context // ends with close, which waits for its users
	cancel context.CancelFunc

	mu      sync.Mutex
	ready   []*space
	filling bool
	later   *time.Timer // nil: no space was taken yet
	wg      sync.WaitGroup
}

// fillPause is the time after the last network was taken until the next space is
// prepared, unless none is left: the preparation must not compete with the start of a
// VM for the processor. It is long enough to start a VMM, and short enough for a
// person's next VM.
const fillPause = 2 * time.Second

func (p *pool) init(size int, newSpace func(context.Context) (*space, error), log *slog.Logger) {
	p.size, p.make, p.log = size, newSpace, log
	p.ctx, p.cancel = context.WithCancel(context.Background())
}

// fill starts to make spaces.
func (p *pool) fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refill()
}

// take returns a prepared space, or makes one, and triggers the next.
func (p *pool) take(ctx context.Context) (*space, error) {
	p.mu.Lock()
	var s *space
	if n := len(p.ready); n > 0 {
		s, p.ready = p.ready[n-1], p.ready[:n-1]
	}
	p.fillLater()
	p.mu.Unlock()
	if s != nil {
		return s, nil
	}
	return p.make(ctx)
}

// fillLater starts to make spaces after fillPause. The lock is held.
func (p *pool) fillLater() {
	switch {
	case len(p.ready) == 0:
		p.refill()
	case p.later == nil:
		p.later = time.AfterFunc(fillPause, p.fill)
	default:
		p.later.Reset(fillPause)
	}
}

// refill makes spaces in the background until the pool is full. A failure ends it: the
// next take tries again, and returns the error. The lock is held.
func (p *pool) refill() {
	if p.filling || len(p.ready) >= p.size || p.ctx.Err() != nil {
		return
	}
	p.filling = true
	p.wg.Go(func() {
		for p.add() {
		}
	})
}

// add makes one space and reports whether another is needed.
func (p *pool) add() bool {
	s, err := p.make(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.ctx.Err() == nil {
			p.log.Warn("cannot prepare a network namespace", "error", err)
		}
		p.filling = false
		return false
	}
	p.ready = append(p.ready, s)
	p.filling = len(p.ready) < p.size && p.ctx.Err() == nil
	return p.filling
}

func (p *pool) close() {
	p.mu.Lock()
	p.cancel()
	if p.later != nil {
		p.later.Stop()
	}
	p.mu.Unlock()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.ready {
		s.close()
	}
	p.ready = nil
}
