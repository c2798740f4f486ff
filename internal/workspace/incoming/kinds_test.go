package incoming_test

import (
	"path/filepath"
	"testing"

	"banger/internal/workspace/worktest"
)

// TestASparseCheckout: what is not checked out was not sent, and stays; a file that the guest
// puts there counts.
func TestASparseCheckout(t *testing.T) {
	fx := &fixture{repo: worktest.New(t), guest: &worktest.Guest{Dir: t.TempDir()}}
	fx.repo.Commit(t, map[string]string{"top": "t\n", "in/a": "a\n", "in/b": "b\n", "out/x": "x\n", "out/y": "y\n"})
	fx.repo.Run(t, "sparse-checkout", "set", "--cone", "--sparse-index", "in")
	fx.send(t)
	fx.edit(t, "in/a", "changed\n")
	fx.remove(t, "in/b")
	fx.edit(t, "out/x", "changed\n")
	fx.edit(t, "out/new", "new\n")
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "M\tin/a", "D\tin/b", "M\tout/x", "A\tout/new")
}

// TestALinkedWorktree: its objects and references are the repository's.
func TestALinkedWorktree(t *testing.T) {
	main := worktest.New(t)
	main.Commit(t, files)
	linked := filepath.Join(t.TempDir(), `a "linked": [x]`+"\n")
	main.Run(t, "worktree", "add", "-q", "-b", "other", linked)
	fx := &fixture{repo: main, guest: &worktest.Guest{Dir: t.TempDir()}}
	fx.send(t)
	fx.repo = &worktest.Repo{Dir: linked}
	fx.edit(t, "README", "changed\n")
	result, err := importInto(fx)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "diff", fx.diff(t, result.Commit), "M\tREADME")
}

// TestNamesOfRepositories: a path with all that git gives a meaning to.
func TestNamesOfRepositories(t *testing.T) {
	outer := worktest.New(t)
	fx := &fixture{repo: &worktest.Repo{Dir: filepath.Join(outer.Dir, "a:b\n\"c\" [d]*\\")}, guest: &worktest.Guest{Dir: t.TempDir()}}
	worktest.Write(t, fx.repo.Dir, "a", "1\n")
	fx.repo.Run(t, "init", "-q")
	fx.repo.Run(t, "config", "user.name", "A User")
	fx.repo.Run(t, "config", "user.email", "user@example.invalid")
	fx.repo.Commit(t, map[string]string{".gitignore": "*.o\n"})
	fx.send(t)
	fx.edit(t, "a", "2\n")
	fx.edit(t, "b.o", "ignored\n")
	fx.edit(t, ".gitattributes", "* text\n")
	wantLines(t, "diff", fx.diff(t, fx.imports(t).Commit), "M\ta", "A\t.gitattributes")
}

// TestAutoCRLF: a setting that filters files without attributes.
func TestAutoCRLF(t *testing.T) {
	fx := ship(t, map[string]string{"a": "1\n"})
	fx.repo.Run(t, "config", "core.autocrlf", "input")
	fx.repo.Run(t, "config", "core.safecrlf", "true")
	fx.edit(t, "a", "1\r\n2\r\n")
	fx.edit(t, "b", "1\r\n")
	result := fx.imports(t)
	if got := fx.repo.Run(t, "show", result.Commit+":a") + fx.repo.Run(t, "show", result.Commit+":b"); got != "1\n21" || len(result.Warnings) > 0 {
		t.Errorf("%q %v", got, result.Warnings)
	}
}
