//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/network"
)

// How long the Keeper waits after it looked at the table until it does so again: at
// first, so that what changes together is looked at once, and at most, while changes
// or failures go on. A look takes nft(8) a few milliseconds.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// Keeper keeps the host's table as banger makes it: when the kernel tells of a change
// of the table, or the host's resolver changes, it compares, and loads the table again
// if it must, until that works. Other programs' tables are no matter to it.
type Keeper struct {
	outer   netip.Prefix
	log     *slog.Logger
	first   time.Duration // firstPause, but in tests
	longest time.Duration // longestPause, but in tests
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	changed chan struct{} // has room for one: there may be something to do

	work    sync.Mutex        // held while the table is looked at or loaded
	fresh   string            // what nft(8) says of the table that follows
	freshOf network.HostTable // zero: of none yet

	mu    sync.Mutex
	table network.HostTable // as it was loaded last; zero: never
	err   error             // why it is not loaded, or not known to be
}

// KeepTable begins to keep the table of an outer prefix, until Close, which leaves the
// table as it is. Ensure loads it.
func KeepTable(ctx context.Context, outer netip.Prefix, log *slog.Logger) *Keeper {
	return keepTable(ctx, outer, log, firstPause, longestPause)
}

func keepTable(ctx context.Context, outer netip.Prefix, log *slog.Logger, first, longest time.Duration) *Keeper {
	ctx, cancel := context.WithCancel(ctx)
	k := &Keeper{outer: outer, log: log, first: first, longest: longest, cancel: cancel, changed: make(chan struct{}, 1)}
	rules, resolver := source{name: "the firewall's rules", open: followRules, concerns: touches},
		source{name: "the host's resolver", open: followResolver, concerns: k.otherResolver}
	k.wg.Go(func() { k.follow(ctx, rules) })
	k.wg.Go(func() { k.follow(ctx, resolver) })
	k.wg.Go(func() { k.mend(ctx) })
	return k
}

// Ensure returns at once if the table is loaded, else it loads it or says why it
// cannot.
func (k *Keeper) Ensure(ctx context.Context) error {
	if table, err := k.Table(); err == nil && table.Outer.IsValid() {
		return nil
	}
	return k.look(ctx)
}

// Table returns what was loaded last, and why that is not so any more, if it is known
// not to be.
func (k *Keeper) Table() (network.HostTable, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table, k.err
}

// Close ends the keeping.
func (k *Keeper) Close() {
	k.cancel()
	k.wg.Wait()
}

// mend looks at the table whenever there may be something to do.
func (k *Keeper) mend(ctx context.Context) {
	pause := k.first
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.changed:
		}
		failed := k.look(ctx) != nil
		if !sleep(ctx, pause) {
			return
		}
		if failed {
			k.touch()
		}
		if pause = min(2*pause, k.longest); len(k.changed) == 0 {
			pause = k.first
		}
	}
}

// touch says that there may be something to do.
func (k *Keeper) touch() {
	select {
	case k.changed <- struct{}{}:
	default: // it is known
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// look loads the table unless it is as it should be.
func (k *Keeper) look(ctx context.Context) error {
	k.work.Lock()
	defer k.work.Unlock()
	table := network.HostTable{Outer: k.outer, Resolver: network.Upstream(os.ReadFile)}
	why, err := k.wrong(ctx, table)
	if err == nil && why != "" {
		err = EnsureTable(ctx, table)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	k.mu.Lock()
	before := k.err
	if k.err = err; err == nil {
		k.table = table
	}
	k.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()): // else it was said
		k.log.Error("the firewall's table cannot be kept: it is tried again until it can", "because", why, "error", err)
	case err == nil && why != "" && why != whyFirst:
		k.log.Info("the firewall's table was loaded again", "because", why)
	}
	return err
}

const whyFirst = "it was not loaded yet"

// wrong returns why a table must be loaded, or nothing.
func (k *Keeper) wrong(ctx context.Context, table network.HostTable) (why string, err error) {
	switch last, _ := k.Table(); {
	case !last.Outer.IsValid():
		return whyFirst, nil
	case last != table:
		return "the host's resolver is another", nil
	}
	now, err := listTable(ctx)
	if err != nil {
		return "it was removed", nil // or cannot be listed: then loading says why
	}
	if k.freshOf != table {
		if k.fresh, err = freshTable(ctx, table); err != nil {
			return "", fmt.Errorf("cannot tell what the firewall's table should be: %w", err)
		}
		k.freshOf = table
	}
	if now != k.fresh {
		return "it was changed", nil
	}
	return "", nil
}

func (k *Keeper) otherResolver([]byte) bool {
	table, _ := k.Table()
	return network.Upstream(os.ReadFile) != table.Resolver
}

// source is where changes are told.
type source struct {
	name     string
	open     func() (*os.File, error)
	concerns func(told []byte) bool
}

// follow touches whenever a source tells of what concerns the table. What cannot be
// followed is opened again and again, with a look each time.
func (k *Keeper) follow(ctx context.Context, s source) {
	said := ""
	for {
		err := k.read(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err.Error() != said {
			said = err.Error()
			k.log.Warn("changes of "+s.name+" cannot be followed", "error", err)
		}
		if !sleep(ctx, longestPause) {
			return
		}
	}
}

// read returns when a source cannot be read any more.
func (k *Keeper) read(ctx context.Context, s source) error {
	changes, err := s.open()
	k.touch() // nothing was told before
	if err != nil {
		return err
	}
	defer changes.Close()
	defer context.AfterFunc(ctx, func() { changes.Close() })()
	buf := make([]byte, 1<<16)
	for {
		n, err := changes.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS): // more happened than the socket holds (netlink(7))
			k.touch()
		case err != nil:
			return err
		case s.concerns(buf[:n]):
			k.touch()
		}
	}
}
