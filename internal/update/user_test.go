package update

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
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
