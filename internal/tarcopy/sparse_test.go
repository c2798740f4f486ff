package tarcopy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/execx"
)

func TestSparseFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "big"), 1<<30); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "pax"} {
		var b bytes.Buffer
		err := execx.Run(t.Context(), execx.Cmd{Name: "tar", Args: []string{"-c", "-S", "--format=" + format, "big"}, Dir: dir, Stdout: &b})
		if err != nil {
			t.Fatal(err)
		}
		if err := Unpack(&b, t.TempDir(), func(string, string) {}); err == nil || !strings.Contains(err.Error(), "sparse") {
			t.Errorf("%s: %v", format, err)
		}
	}
}
