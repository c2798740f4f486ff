package update

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/paths"
)

func TestPrefix(t *testing.T) {
	base := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.MkdirAll(filepath.Join(base, "versions", v), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("versions/v1", filepath.Join(base, "current")); err != nil {
		t.Fatal(err)
	}
	if got, err := Prefix(filepath.Join(base, "versions", "v1")); err != nil || got != base {
		t.Errorf("%q, %v", got, err)
	}
	for dir, hint := range map[string]string{
		filepath.Join(base, "versions", "v2"): "install.sh", "/home/x/banger/bin": "make build", "/usr/lib/banger": "package manager",
	} {
		if _, err := Prefix(dir); api.KindOf(err) != api.KindUnsupported || !strings.Contains(api.AsError(err).Hint, hint) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestWhereTheLinksAre: beside the programs of either mode, and nowhere if nothing was installed.
func TestWhereTheLinksAre(t *testing.T) {
	if got := SystemPlace().Bin; got != paths.Commands {
		t.Errorf("in system mode %q", got)
	}
	for prefix, want := range map[string]string{"/home/ann/.local/lib/banger": "/home/ann/.local/bin", "/home/ann/src": "", "": ""} {
		if got := UserPlace(paths.Paths{}, prefix).Bin; got != want {
			t.Errorf("%q: %q", prefix, got)
		}
	}
}
