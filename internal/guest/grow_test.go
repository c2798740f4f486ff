package guest_test

import (
	"context"
	"errors"
	"testing"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
)

// TestGrowDisk: the agent is told the size, and what it says is what the host learns. An agent
// that cannot says so.
func TestGrowDisk(t *testing.T) {
	var told int64
	var fails error
	grow := func(_ context.Context, bytes int64) error { told = bytes; return fails }
	link := connect(t, startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b1", Grow: grow}))
	client := guest.Client{Dial: link.Open}
	if err := client.GrowDisk(t.Context(), 7<<30); err != nil || told != 7<<30 {
		t.Errorf("%d, %v", told, err)
	}
	fails = errors.New("it is full")
	if err := client.GrowDisk(t.Context(), 7<<30); api.KindOf(err) != api.KindInternal || err.Error() != "it is full" {
		t.Error(err)
	}
	link = connect(t, startAgent(t, agent.Options{Root: t.TempDir(), BootID: "b1"}))
	client = guest.Client{Dial: link.Open}
	if err := client.GrowDisk(t.Context(), 7<<30); api.KindOf(err) != api.KindUnsupported {
		t.Error(err)
	}
}
