package apply_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/workspace/apply"
	"banger/internal/workspace/worktest"
)

// TestLargeFiles: with git-lfs a commit has pointers, the work trees on both sides have contents.
func TestLargeFiles(t *testing.T) {
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Skip("NOT RUN: git-lfs is missing: sudo apt-get install git-lfs")
	}
	fx := &fixture{repo: worktest.New(t), guest: &worktest.Guest{Dir: t.TempDir()}, dir: filepath.Join(t.TempDir(), "state")}
	fx.repo.Run(t, "lfs", "install", "--local")
	fx.repo.Commit(t, map[string]string{".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "a.bin": "one\n", "b": "b\n"})
	fx.send(t)
	fx.edit(t, "a.bin", "two\n")
	fx.edit(t, "new dir/c.bin", "three\n")
	r := fx.request(t)
	for _, name := range []string{"a.bin", "new dir/c.bin"} {
		if got := fx.repo.Run(t, "cat-file", "blob", r.Guest+":"+name); !strings.HasPrefix(got, "version https://git-lfs.github.com/spec/v1\noid sha256:") {
			t.Errorf("%s is %q", name, got)
		}
	}
	if _, err := apply.Apply(ctx, fx.repo, r); err != nil {
		t.Fatal(err)
	}
	files := fx.files(t)
	if files["a.bin"] != "two\n" || files["new dir/c.bin"] != "three\n" {
		t.Errorf("%q", files)
	}
	if _, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot); err != nil {
		t.Fatal(err)
	}
	if got := fx.files(t)["a.bin"]; got != "one\n" {
		t.Errorf("undone: %q", got)
	}
	if got := fx.repo.Run(t, "status", "--porcelain"); got != "" {
		t.Errorf("status: %s", got)
	}
}
