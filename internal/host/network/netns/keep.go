//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/host/network"
)

// The pauses of the Keeper after a check of the table: the first, so that changes made
// together are checked together, and the longest, while changes or failures continue. A
// check takes nft(8) a few milliseconds.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// Keeper keeps the host's table unchanged: when the kernel reports a change of the
// table, or the host's resolver changes, it compares the table, and loads it again if
// necessary, until that succeeds. It ignores other programs' tables.
type Keeper struct {
	outer   netip.Prefix
	log     *slog.Logger
	first   time.Duration // firstPause, except in tests
	longest time.Duration // longestPause, except in tests
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	changed chan struct{} // buffers one event: the table may have to be checked

	work    sync.Mutex        // held while the table is checked or loaded
	fresh   string            // nft(8)'s listing of freshOf
	freshOf network.HostTable // zero: none yet

	mu    sync.Mutex
	table network.HostTable // the table that was loaded last; zero: none yet
	err   error             // why it is not, or may not be, loaded
}

// KeepTable starts to keep the table of an outer prefix, until Close, which leaves the
// table in place. Ensure loads it.
func KeepTable(ctx context.Context, outer netip.Prefix, log *slog.Logger) *Keeper {
	return keepTable(ctx, outer, log, firstPause, longestPause)
}

func keepTable(ctx context.Context, outer netip.Prefix, log *slog.Logger, first, longest time.Duration) *Keeper {
	ctx, cancel := context.WithCancel(ctx)
	k := &Keeper{outer: outer, log: log, first: first, longest: longest, cancel: cancel, changed: make(chan struct{}, 1)}
	rules, resolver := source{name: "the firewall's rules", open: func() (io.ReadCloser, error) { return followRules() }, concerns: touches},
		source{name: "the host's resolver", open: followResolver, concerns: k.otherResolver}
	k.wg.Go(func() { k.follow(ctx, rules) })
	k.wg.Go(func() { k.follow(ctx, resolver) })
	k.wg.Go(func() { k.run(ctx) })
	return k
}

// Ensure returns at once if the table is loaded; otherwise it loads it.
func (k *Keeper) Ensure(ctx context.Context) error {
	if table, err := k.Table(); err == nil && table.Outer.IsValid() {
		return nil
	}
	return k.look(ctx)
}

// Table returns the table that was loaded last, and an error if it is known not to be
// loaded any more.
func (k *Keeper) Table() (network.HostTable, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table, k.err
}

// Close stops the Keeper.
func (k *Keeper) Close() {
	k.cancel()
	k.wg.Wait()
}

// run checks the table whenever it may have changed.
func (k *Keeper) run(ctx context.Context) {
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

// touch requests a check.
func (k *Keeper) touch() {
	select {
	case k.changed <- struct{}{}:
	default: // a check is requested already
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

// look loads the table unless it is loaded and unchanged.
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
	case err != nil && (before == nil || before.Error() != err.Error()): // otherwise it was logged already
		k.log.Error("cannot load the firewall's table: retrying until it works", "because", why, "error", err)
	case err == nil && why != "" && why != whyFirst:
		k.log.Info("the firewall's table was loaded again", "because", why)
	}
	return err
}

const whyFirst = "it was not loaded yet"

// wrong returns why the table must be loaded, or "".
func (k *Keeper) wrong(ctx context.Context, table network.HostTable) (why string, err error) {
	switch last, _ := k.Table(); {
	case !last.Outer.IsValid():
		return whyFirst, nil
	case last != table:
		return "the host's resolver changed", nil
	}
	now, err := listTable(ctx)
	if err != nil {
		return "it was removed", nil // or cannot be listed: then loading returns the error
	}
	if k.freshOf != table {
		if k.fresh, err = freshTable(ctx, table); err != nil {
			return "", fmt.Errorf("cannot compute the firewall's table: %w", err)
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

// source reports changes.
type source struct {
	name     string
	open     func() (io.ReadCloser, error)
	concerns func(report []byte) bool
}

// follow requests a check whenever a source reports a relevant change. A source that
// fails is opened again, with a check each time.
func (k *Keeper) follow(ctx context.Context, s source) {
	said := ""
	for {
		err := k.read(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err.Error() != said {
			said = err.Error()
			k.log.Warn("cannot watch "+s.name, "error", err)
		}
		if !sleep(ctx, longestPause) {
			return
		}
	}
}

// read returns when a source cannot be read any more.
func (k *Keeper) read(ctx context.Context, s source) error {
	changes, err := s.open()
	k.touch() // changes before were not reported
	if err != nil {
		return err
	}
	defer changes.Close()
	defer context.AfterFunc(ctx, func() { changes.Close() })()
	buf := make([]byte, 1<<16)
	for {
		n, err := changes.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS): // the socket's buffer overflowed (netlink(7))
			k.touch()
		case err != nil:
			return err
		case s.concerns(buf[:n]):
			k.touch()
		}
	}
}
