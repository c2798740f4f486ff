package system

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestUninstallWaitsForNoDaemonWithoutEnd: the daemon runs as the owner, who cannot
// keep root from removing it.
func TestUninstallWaitsForNoDaemonWithoutEnd(t *testing.T) {
	fx := newFixture(t)
	if err := fx.install(); err != nil {
		t.Fatal(err)
	}
	fx.vms = []string{"banger-vm-0123456789ab.service"}
	fx.stopping = 10 * time.Millisecond
	fx.StopVMs = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Second):
			return errors.New("nothing ended this question")
		}
	}
	start := time.Now()
	if _, err := fx.Uninstall(t.Context(), UninstallOptions{Force: true}, func(string) {}); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}
