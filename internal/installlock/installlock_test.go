package installlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, what := range []string{Installation, Update} { // a shorter text leaves nothing of the longer one
		unlock, err := Take(t.Context(), path, what, false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Take(t.Context(), path, Update, false)
		var held *HeldError
		if want := fmt.Sprintf("%s is already running (pid %d)", what, os.Getpid()); !errors.As(err, &held) || held.Error() != want {
			t.Errorf("%v, not %q", err, want)
		}
		unlock()
	}
	unlock, err := Take(t.Context(), path, Update, true)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Take(ctx, path, Update, true); !errors.Is(err, context.Canceled) {
		t.Errorf("waited for: %v", err)
	}
}

func TestALinkIsNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.Symlink("elsewhere", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), path, Update, false); err == nil {
		t.Error("a link was followed")
	}
}
