//go:build linux

// Package netns makes the network of VMs in system mode as package network
// plans it: namespaces, links, addresses and routes by netlink, the firewall's
// tables by nft(8) outside the path of creating a VM. It needs CAP_NET_ADMIN and
// CAP_SYS_ADMIN; only the root helper uses it.
//
// It remembers nothing of a VM. What the kernel has under a VM's name is the
// record, and everything can be done again: absent is success for Detach, and
// present is success for Attach.
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
	"banger/internal/network"
)

// RunDir is where network namespaces have their names (ip-netns(8)).
const RunDir = "/run/netns"

// Options are how a Manager works.
type Options struct {
	Outer netip.Prefix // as in network.Spec
	Pool  int          // how many namespaces are kept ready; 0: none
	Dir   string       // where namespaces have their names; "": RunDir
	Log   *slog.Logger // nil: slog.Default
}

// Manager makes and removes VMs' networks in the network namespace in which it
// was made. It can be used from many goroutines; one VM at a time is the
// caller's to see to.
type Manager struct {
	outer netip.Prefix
	rules string // a namespace's tables
	dir   string
	log   *slog.Logger
	host  *netlink.Handle
	pool  pool
}

// New returns a Manager. Its pool is empty until Fill, or the first Attach.
func New(o Options) (*Manager, error) {
	if !o.Outer.IsValid() {
		o.Outer = network.DefaultOuter
	}
	rules, err := network.GuestTables(o.Outer)
	if err != nil {
		return nil, err
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot talk to the kernel about links: %w", err)
	}
	m := &Manager{outer: o.Outer, rules: rules, dir: cmp.Or(o.Dir, RunDir), log: o.Log, host: host}
	if m.log == nil {
		m.log = slog.Default()
	}
	m.pool.init(o.Pool, m.makeSpace, m.log)
	return m, nil
}

// Fill begins to fill the pool.
func (m *Manager) Fill() { m.pool.fill() }

// Close lets go of the namespaces that are ready, which ends them. VMs' networks
// stay.
func (m *Manager) Close() {
	m.pool.close()
	m.host.Close()
}

// makeSpace makes a namespace for a guest, which nothing names yet.
func (m *Manager) makeSpace(ctx context.Context) (*space, error) { return newSpace(ctx, m.rules) }

// pool keeps spaces ready. They exist by their descriptors alone, so they end
// with this process, however it ends: none can leak.
type pool struct {
	make func(context.Context) (*space, error)
	size int
	log  *slog.Logger

	ctx    context.Context // ends with close, which waits for what has it
	cancel context.CancelFunc

	mu      sync.Mutex
	ready   []*space
	filling bool
	later   *time.Timer // nil: nothing was taken yet
	wg      sync.WaitGroup
}

// fillPause is how long after the last network was taken the next is made ready,
// unless none is left: a start of a VM is not to share its processor with that. Long
// enough for a VMM to be started, short enough for a person's next VM.
const fillPause = 2 * time.Second

func (p *pool) init(size int, newSpace func(context.Context) (*space, error), log *slog.Logger) {
	p.size, p.make, p.log = size, newSpace, log
	p.ctx, p.cancel = context.WithCancel(context.Background())
}

// fill begins to make spaces.
func (p *pool) fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refill()
}

// take returns a space that is ready, or makes one, and sees to the next.
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

// fillLater begins to make spaces when it disturbs least. The lock is held.
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

// refill makes spaces in the background until the pool is full. A failure ends
// it: the next take tries again, and is told why. The lock is held.
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

// add makes one space and tells whether there should be another.
func (p *pool) add() bool {
	s, err := p.make(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.ctx.Err() == nil {
			p.log.Warn("cannot keep a network namespace ready", "error", err)
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
