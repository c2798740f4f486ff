package fsx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/host/fsx/fusetest"
)

// TestRefuseFUSE: the refusal does not wait for a program that never answers.
func TestRefuseFUSE(t *testing.T) {
	f := fusetest.File(t)
	done := make(chan error, 1)
	go func() { done <- RefuseFUSE("disk", f) }()
	select {
	case err := <-done:
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "the disk is in a file system in user space") {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for the program")
	}
}

func TestRefuseFUSETakesDisks(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := RefuseFUSE("disk", f); err != nil {
		t.Error(err)
	}
	f.Close()
	if err := RefuseFUSE("disk", f); api.KindOf(err) != api.KindInvalid {
		t.Errorf("closed: %v", err)
	}
}
