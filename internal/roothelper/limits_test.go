package roothelper

import (
	"testing"

	"banger/internal/host/network"
	"banger/internal/rootapi"
	"banger/internal/system/record"
)

// TestLimitsAgree: a slot that the contract lets through has a user id and an
// address. Package vm is held to the contract by its own test.
func TestLimitsAgree(t *testing.T) {
	if record.Slots != rootapi.Slots {
		t.Errorf("%d user ids, %d slots", record.Slots, rootapi.Slots)
	}
	if n, err := network.Slots(network.DefaultOuter); err != nil || n < rootapi.Slots {
		t.Errorf("%s has room for %d of %d VMs: %v", network.DefaultOuter, n, rootapi.Slots, err)
	}
	last := network.Spec{ID: "0123456789ab", Slot: rootapi.Slots - 1, UID: record.DefaultBase + rootapi.Slots - 1}
	if _, err := network.New(last); err != nil {
		t.Error(err)
	}
}
