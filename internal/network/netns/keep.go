//go:build linux

package netns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"banger/internal/network"
)

// Keeper keeps the host's table loaded: it loads it again when somebody flushes
// all rules (as `systemctl restart nftables` does), and anew when the host's
// resolver changes. It waits for the kernel's word of either.
type Keeper struct {
	outer  netip.Prefix
	log    *slog.Logger
	cancel context.CancelFunc
	files  []*os.File
	wg     sync.WaitGroup

	mu    sync.Mutex // held while a table is loaded
	table network.HostTable
}

// KeepTable loads the table of an outer prefix and keeps it until Close, which
// leaves the table as it is.
func KeepTable(ctx context.Context, outer netip.Prefix, log *slog.Logger) (*Keeper, error) {
	ctx, cancel := context.WithCancel(ctx)
	k := &Keeper{outer: outer, log: log, cancel: cancel}
	rules, err := followRules()
	if err == nil {
		k.files = append(k.files, rules)
		err = k.load(ctx)
	}
	if err != nil {
		k.Close()
		return nil, err
	}
	k.wg.Go(func() { k.mindRules(ctx, rules) })
	if resolvers, err := followResolver(); err != nil {
		log.Warn("a change of the host's resolver will go unseen", "error", err)
	} else {
		k.files = append(k.files, resolvers)
		k.wg.Go(func() { k.mindResolver(ctx, resolvers) })
	}
	return k, nil
}

// Table returns what was loaded last.
func (k *Keeper) Table() network.HostTable {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table
}

// Close ends the keeping.
func (k *Keeper) Close() {
	k.cancel()
	for _, f := range k.files {
		f.Close()
	}
	k.wg.Wait()
}

func (k *Keeper) load(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	table := network.HostTable{Outer: k.outer, Resolver: network.Upstream(os.ReadFile)}
	if err := EnsureTable(ctx, table); err != nil {
		return err
	}
	k.table = table
	return nil
}

// reload loads the table, and says why.
func (k *Keeper) reload(ctx context.Context, why string) {
	if err := k.load(ctx); err == nil {
		k.log.Info("the firewall's table was loaded again", "because", why)
	} else if ctx.Err() == nil {
		k.log.Error("the firewall's table cannot be loaded again", "because", why, "error", err)
	}
}

func (k *Keeper) mindRules(ctx context.Context, rules *os.File) {
	var seen transaction
	buf := make([]byte, 1<<16)
	for {
		n, err := rules.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS): // more happened than the socket holds (netlink(7))
			seen = transaction{}
			k.reload(ctx, "not all changes of the rules could be followed")
		case err != nil:
			if ctx.Err() == nil {
				k.log.Error("changes of the firewall's rules go unseen from now on", "error", err)
			}
			return
		case seen.removes(buf[:n]):
			k.reload(ctx, "it was removed")
		}
	}
}

func (k *Keeper) mindResolver(ctx context.Context, changes *os.File) {
	buf := make([]byte, 1<<12)
	for {
		if _, err := changes.Read(buf); err != nil {
			if ctx.Err() == nil {
				k.log.Error("changes of the host's resolver go unseen from now on", "error", err)
			}
			return
		}
		if network.Upstream(os.ReadFile) != k.Table().Resolver {
			k.reload(ctx, "the host's resolver is another")
		}
	}
}
