//go:build linux

package resolved

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/network"
)

const (
	// keepPause is the pause between two checks: systemd-resolved can start, or a program can take
	// the link's settings away, at any time. A check takes a millisecond.
	keepPause = 15 * time.Second
	// busTime bounds the requests of one check.
	busTime = 5 * time.Second
)

// State is whether the host's resolver sends questions about VMs to the link.
type State struct {
	Link    int      // the link's index: sockets of an earlier link receive nothing
	Problem string   // why not; empty: it does
	Absent  bool     // the problem: systemd-resolved does not run
	Taken   []string // domains of the zones that other links have
}

// Names gives VMs names on the host. Its methods may be used from several goroutines.
type Names struct {
	Log *slog.Logger

	bus   string        // replaces systemBus in tests
	pause time.Duration // replaces keepPause in tests

	mu   sync.Mutex
	off  bool // removed: only an explicit Ensure makes it again
	said State
}

// Ensure makes the link and tells systemd-resolved, unless that is done. If the link cannot be made,
// the error is the reason; all else is in the state.
func (n *Names) Ensure(ctx context.Context) (State, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off = false
	return n.ensure(ctx)
}

// Listen returns the sockets for questions: UDP, then TCP. Ensure comes first.
func (n *Names) Listen(ctx context.Context) ([]*os.File, error) {
	files, err := listen(ctx)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, api.Errorf(api.KindConflict, "cannot give VMs names on the host: %w", err).
			WithHint("sudo ss -lnup sport = 53   shows what listens on all addresses; bangerd listens if nothing else does")
	}
	if err != nil {
		return nil, api.Errorf(api.KindOf(err), "cannot give VMs names on the host: %w", err)
	}
	return files, nil
}

// Remove removes the link, and with it what systemd-resolved was told.
func (n *Names) Remove() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off = true
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		defer nl.Close()
		err = removeLink(nl)
	}
	if err != nil {
		return api.Errorf(api.KindOf(err), "cannot take VMs' names from the host: %w", err)
	}
	return nil
}

// Keep ensures it again and again until ctx ends. Then systemd-resolved is told no more; the link
// stays for the next helper.
func (n *Names) Keep(ctx context.Context) {
	for {
		n.mu.Lock()
		if !n.off {
			_, _ = n.ensure(ctx) // logged
		}
		n.mu.Unlock()
		select {
		case <-ctx.Done():
			n.release(context.WithoutCancel(ctx))
			return
		case <-time.After(cmp.Or(n.pause, keepPause)):
		}
	}
}

// release takes back what systemd-resolved was told.
func (n *Names) release(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return
	}
	defer nl.Close()
	link, err := nl.LinkByName(network.NamesLink)
	if err != nil {
		return // it was removed, and with it what systemd-resolved knew
	}
	c, err := connect(ctx, cmp.Or(n.bus, systemBus))
	if err == nil {
		defer c.close()
		err = c.revertLink(ctx, link.Attrs().Index)
	}
	if err != nil && !errors.Is(err, errAbsent) {
		n.Log.Error("questions about VMs are still sent to bangerd", "error", err)
	}
}

// ensure does the work, and logs what is new. The caller holds mu.
func (n *Names) ensure(ctx context.Context) (State, error) {
	s, err := n.check(ctx)
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	said := s
	if err != nil {
		said.Problem = err.Error()
	}
	if said.Problem != n.said.Problem || !slices.Equal(said.Taken, n.said.Taken) {
		switch {
		case said.Absent:
			n.Log.Info("VMs have no names on this host", "because", said.Problem)
		case said.Problem != "":
			n.Log.Warn("VMs have no names on this host: trying again", "because", said.Problem)
		case len(said.Taken) > 0:
			n.Log.Warn("VMs' names may lead elsewhere: another link has the domain", "taken", strings.Join(said.Taken, ", "))
		default:
			n.Log.Info("VMs have names on this host")
		}
		n.said = said
	}
	return s, err
}

func (n *Names) check(ctx context.Context) (State, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return State{}, api.Errorf(api.KindInternal, "cannot talk to the kernel about links: %w", err)
	}
	defer nl.Close()
	index, err := ensureLink(nl)
	if err != nil {
		return State{}, api.Errorf(api.KindOf(err), "cannot give VMs names on the host: cannot %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	taken, err := n.tell(ctx, index, func(i int) string {
		if link, err := nl.LinkByIndex(i); err == nil {
			return link.Attrs().Name
		}
		return fmt.Sprintf("link %d", i)
	})
	switch {
	case errors.Is(err, errAbsent):
		return State{Link: index, Problem: err.Error(), Absent: true}, nil
	case err != nil:
		return State{Link: index, Problem: "cannot " + err.Error()}, nil
	}
	return State{Link: index, Taken: taken}, nil
}

// tell has systemd-resolved route the zones to a link, unless it does.
func (n *Names) tell(ctx context.Context, index int, nameOf func(int) string) (taken []string, err error) {
	c, err := connect(ctx, cmp.Or(n.bus, systemBus))
	if err != nil {
		return nil, err
	}
	defer c.close()
	all, err := c.domains(ctx)
	if err != nil {
		return nil, err
	}
	complete, taken := ours(all, index, nameOf)
	if complete {
		return taken, nil
	}
	return taken, c.setLink(ctx, index)
}
