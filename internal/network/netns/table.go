//go:build linux

package netns

import (
	"context"

	"banger/api"
	"banger/internal/network"
)

// EnsureTable loads the host's table, in place of what is there. Not on the path
// of creating a VM: it runs nft(8).
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

// RemoveTable removes the host's table. Absent is success: nft(8) has an
// addition that changes nothing before the deletion, in one transaction.
func RemoveTable(ctx context.Context) error {
	const name = "table inet " + network.TableName
	if err := loadRules(ctx, "add "+name+"\ndelete "+name+"\n"); err != nil {
		return api.Errorf(api.KindOf(err), "cannot remove the firewall's table: %w", err)
	}
	return nil
}
