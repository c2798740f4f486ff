package apply_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace/apply"
	"banger/internal/workspace/worktest"
)

// TestAnyStateOfTheRepository: neither a lock that is held nor what git has not finished matters,
// and none of it is touched.
func TestAnyStateOfTheRepository(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, r *worktest.Repo){
		"locked":   func(t *testing.T, r *worktest.Repo) { r.Write(t, ".git/index.lock", "") },
		"detached": func(t *testing.T, r *worktest.Repo) { r.Run(t, "checkout", "-q", "--detach") },
		"rebase": func(t *testing.T, r *worktest.Repo) {
			r.Run(t, "-c", "sequence.editor=sed -i '1ibreak'", "rebase", "-q", "-i", "--root")
		},
		"unborn": func(t *testing.T, r *worktest.Repo) { r.Run(t, "checkout", "-q", "--orphan", "new") },
		"conflict": func(t *testing.T, r *worktest.Repo) {
			r.Run(t, "checkout", "-q", "-b", "other")
			r.Commit(t, map[string]string{"same": "other\n"})
			r.Run(t, "checkout", "-q", "main")
			r.Commit(t, map[string]string{"same": "main\n"})
			if _, err := r.Git(ctx, nil, nil, "merge", "-q", "other"); err == nil {
				t.Fatal("no conflict")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fx := ship(t, base)
			prepare(t, fx.repo)
			fx.send(t)
			fx.edit(t, "guest", "2\n")
			check, before := fx.repo.Untouched(t), fx.files(t)
			if _, err := apply.Apply(ctx, fx.repo, fx.request(t)); err != nil {
				t.Fatal(err)
			}
			if fx.files(t)["guest"] != "2\n" {
				t.Error("it was not applied")
			}
			if _, err := apply.Undo(ctx, fx.repo, fx.dir, fx.repo.Snapshot); err != nil {
				t.Fatal(err)
			}
			check()
			wantFiles(t, "undone", fx.files(t), before)
		})
	}
}

// TestPlacesThatAreNotOurs: a sparse checkout, and repositories in the work tree.
func TestPlacesThatAreNotOurs(t *testing.T) {
	fx := ship(t, base)
	fx.edit(t, "guest", "2\n")
	fx.edit(t, "nest/x", "guest\n")
	fx.edit(t, "nest/.git/config", "guest\n")
	fx.repo.Run(t, "update-index", "--skip-worktree", "guest")
	remove(t, fx.repo.Dir, "guest")
	nested := &worktest.Repo{Dir: filepath.Join(fx.repo.Dir, "nest")}
	if err := os.Mkdir(nested.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	nested.Run(t, "init", "-q")
	nested.Run(t, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "m")
	before := fx.files(t)
	result, err := apply.Apply(ctx, fx.repo, fx.request(t))
	if api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
	got := map[string]string{}
	for _, c := range result.Conflicts {
		got[c.Path] = c.Reason
	}
	wantFiles(t, "conflicts", got, map[string]string{"guest": "it is not checked out here", "nest/x": "it belongs to another repository"})
	wantFiles(t, "after", fx.files(t), before)
}

// TestUndoOfAnotherTree: the directory of banger's belongs to one work tree.
func TestUndoOfAnotherTree(t *testing.T) {
	fx := ship(t, base)
	fx.edit(t, "guest", "2\n")
	if _, err := apply.Apply(ctx, fx.repo, fx.request(t)); err != nil {
		t.Fatal(err)
	}
	other := worktest.New(t)
	if _, err := apply.Undo(ctx, other, fx.dir, other.Snapshot); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), fx.repo.Dir) {
		t.Errorf("%v", err)
	}
}
