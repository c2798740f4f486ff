//go:build linux

package netns

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/network"
	"banger/internal/host/rootexec"
)

// nftTime is far longer than nft(8) takes, even on a host with very many rules.
const nftTime = 30 * time.Second

// nft runs nft(8) in the calling thread's namespace, which a program started by the
// thread inherits.
func nft(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, nftTime)
	defer cancel()
	return rootexec.Run(ctx, execx.Cmd{Name: "nft", Args: args, Stdin: stdin, Stdout: stdout, Package: "nftables"})
}

// loadRules loads a table's text.
func loadRules(ctx context.Context, rules string) error {
	return nft(ctx, strings.NewReader(rules), nil, "-f", "-")
}

// hostRules returns all rules.
func hostRules(ctx context.Context) (*network.Ruleset, error) {
	var out bytes.Buffer
	if err := nft(ctx, nil, &out, "-j", "list", "ruleset"); err != nil {
		return nil, err
	}
	return network.ParseRuleset(out.Bytes())
}

// listTable returns the host's table as listed by nft(8), without what packets change:
// counters and the elements of sets. Without a table it returns an error.
func listTable(ctx context.Context) (string, error) {
	var out bytes.Buffer
	if err := nft(ctx, nil, &out, "--stateless", "--terse", "list", "table", "inet", network.TableName); err != nil {
		return "", err
	}
	return network.SortSets(out.String()), nil
}

// freshTable returns the listing of a table that was just loaded in its own namespace,
// for a comparison that does not depend on nft's version.
func freshTable(ctx context.Context, t network.HostTable) (listing string, err error) {
	ns, err := inNew(func() error {
		if err := EnsureTable(ctx, t); err != nil {
			return err
		}
		listing, err = listTable(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return listing, ns.Close()
}

// EnsureTable loads the host's table, and replaces an existing one. It runs nft(8), so
// it is not used while a VM is created.
func EnsureTable(ctx context.Context, t network.HostTable) error {
	text, err := t.Text()
	if err != nil {
		return err
	}
	if err := loadRules(ctx, text); err != nil {
		return api.Errorf(api.KindOf(err), "cannot load the firewall's table: %w", err)
	}
	return nil
}

// RemoveTable removes the host's table. It succeeds if there is none: nft(8) adds it
// before the deletion, in one transaction.
func RemoveTable(ctx context.Context) error {
	const name = "table inet " + network.TableName
	if err := loadRules(ctx, "add "+name+"\ndelete "+name+"\n"); err != nil {
		return api.Errorf(api.KindOf(err), "cannot remove the firewall's table: %w", err)
	}
	return nil
}
