package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/guest/stdio"
)

// TestDanglingLink: a link that leads nowhere is called that, and is still not there for
// who asks for a target.
func TestDanglingLink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("gone", link); err != nil {
		t.Fatal(err)
	}
	stat := (&server{}).newStat(stdio.Copy{Path: link})
	_, err := stat.work(t.Context(), nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if e := stat.explain(err); e.Kind != api.KindNotFound || !strings.Contains(e.Message, "it is a symbolic link to ") || !strings.Contains(e.Message, "gone") {
		t.Errorf("got %+v", e)
	}
}
