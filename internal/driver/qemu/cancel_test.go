package qemu_test

import (
	"context"
	"testing"
	"time"

	"banger/internal/driver"
)

// TestCancelledSaves: whenever a save is cancelled, the machine runs afterwards. Connections to the monitor
// are cut then while QEMU works on a command, and its response reaches the next one.
func TestCancelledSaves(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: real guests")
	}
	m, err := newDriver(t).Start(t.Context(), spec(t, "00000000000e"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	defer func() {
		if err := m.Kill(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for i := range 120 {
		after := time.Duration(i%60) * 500 * time.Microsecond
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := m.(driver.Saver).Save(ctx, t.TempDir())
		cancel()
		if err == nil { // it was faster
			if err := m.(driver.Pauser).Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if why, wrong := m.(driver.Stander).Standing(t.Context()); why != "" || wrong != nil {
			t.Fatalf("cancelled after %s: %q, %v; the save: %v", after, why, wrong, err)
		}
	}
}
