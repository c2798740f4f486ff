package fsx

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

// versionsAt makes two directories with a file each that says which it is.
func versionsAt(t *testing.T) (new, old string) {
	t.Helper()
	dir := t.TempDir()
	new, old = filepath.Join(dir, "new"), filepath.Join(dir, "old")
	for _, d := range []string{new, old} {
		if err := errors.Join(os.Mkdir(d, 0o755), os.WriteFile(d+"/is", []byte(filepath.Base(d)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return new, old
}

func is(dir string) string {
	data, _ := os.ReadFile(dir + "/is")
	return string(data)
}

func TestSwap(t *testing.T) {
	for _, inUse := range []bool{true, false} {
		new, old := versionsAt(t)
		if err := Swap(new, old, inUse); err != nil || is(old) != "new" || is(new) != "old" {
			t.Errorf("%v: %q and %q", err, is(old), is(new))
		}
		if err := os.RemoveAll(old); err != nil {
			t.Fatal(err)
		}
		if err := Swap(new, old, inUse); err != nil || is(old) != "old" || is(new) != "" {
			t.Errorf("where none was: %v: %q and %q", err, is(old), is(new))
		}
	}
}

// TestNothingInUseIsRemoved: without an exchange there would be a moment with no
// version in place, and a loss of power in it would leave none.
func TestNothingInUseIsRemoved(t *testing.T) {
	new, old := versionsAt(t)
	if err := replace(new, old, true); api.KindOf(err) != api.KindUnsupported || api.AsError(err).Hint == "" {
		t.Errorf("%v", err)
	}
	if is(old) != "old" || is(new) != "new" {
		t.Errorf("%q and %q", is(old), is(new))
	}
	if err := replace(new, old, false); err != nil || is(old) != "new" {
		t.Errorf("%v: %q", err, is(old))
	}
}
