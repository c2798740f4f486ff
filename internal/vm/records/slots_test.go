package records

import (
	"testing"

	"banger/internal/rootapi"
)

// TestSlotsAgree: every slot that is given out is one that the root helper takes.
func TestSlotsAgree(t *testing.T) {
	if maxSlot != rootapi.Slots-1 {
		t.Errorf("the last slot is %d, the root helper knows %d", maxSlot, rootapi.Slots)
	}
}
