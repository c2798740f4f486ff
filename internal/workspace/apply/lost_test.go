package apply_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/internal/workspace/worktest"
)

// TestNothingIsEverLost: random edits on both sides, with failures and kills at random points,
// end with every version of every file in the work tree or below refs/banger, and what Undo
// undoes is as it was.
func TestNothingIsEverLost(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("BANGER_TEST_SEED"); s != "" {
		_, _ = fmt.Sscan(s, &seed)
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		fx := ship(t, base)
		for step := range 5 {
			scramble(t, random, fx.guest.Dir, fmt.Sprint("guest ", step))
			scramble(t, random, fx.repo.Dir, fmt.Sprint("host ", step))
			r := fx.request(t)
			before, guest := fx.files(t), worktest.Files(t, fx.guest.Dir)
			j := job{Repo: fx.repo.Dir, Shipped: r.Shipped, Guest: r.Guest, Dir: fx.dir, Partial: random.IntN(3) > 0}
			fx.disturb(t, random, j)
			delete(guest, ".git")
			for name := range guest {
				if strings.HasSuffix(name, ".o") {
					delete(guest, name) // git ignores it: it stays in the guest
				}
			}
			fx.nothingLost(t, "applied", before)
			fx.nothingLost(t, "applied", guest)
			if random.IntN(2) == 0 {
				err := process(t, job{Repo: j.Repo, Dir: j.Dir, Undo: true}, "")
				if err != nil && !strings.Contains(err.Error(), "nothing to undo") && !strings.Contains(err.Error(), "changed since") {
					t.Errorf("%v", err)
				}
				fx.nothingLost(t, "undone", before)
			}
			fx.repo.Run(t, "fsck", "--no-dangling")
			if t.Failed() {
				t.FailNow()
			}
		}
	}
}

// disturb applies, and may be killed at any point.
func (fx *fixture) disturb(t *testing.T, random *rand.Rand, j job) {
	names := []string{"apply look", "apply snapshot", "apply plan", "apply stage", "apply copy", "apply write", "apply written 0", "apply written 1", "apply written 3",
		"apply made both", "apply made new", "apply exchanged guest", "apply exchanged script", "apply moved same", "apply moved deep/er/file"}
	name := filepath.Join(t.TempDir(), "points")
	if err := os.WriteFile(name, []byte(names[random.IntN(len(names))]), 0o600); err != nil {
		t.Fatal(err)
	}
	err := process(t, j, name)
	if err != nil && !strings.Contains(err.Error(), "killed") && !strings.Contains(err.Error(), "conflicts") {
		t.Errorf("%v", err)
	}
}

// scramble makes some random changes of files.
func scramble(t *testing.T, random *rand.Rand, dir, who string) {
	names := []string{"same", "guest", "both", "link", "file-to-dir", "file-to-dir/x", "dir-to-file", "dir-to-file/a", "deep/er/file", "deep/er", "deep", "new", "a.o", "script"}
	for range 1 + random.IntN(4) {
		name := names[random.IntN(len(names))]
		if random.IntN(4) == 0 && !slices.Contains([]string{"a.o"}, name) {
			remove(t, dir, name)
			continue
		}
		content := fmt.Sprintf("%s %d\n", who, random.Uint32())
		switch random.IntN(6) {
		case 0:
			content = "-> " + strings.TrimSpace(content)
		case 1:
			content = "#!" + content
		}
		// What is in the way goes first, as an editor's user would do it.
		for above := filepath.Dir(name); above != "."; above = filepath.Dir(above) {
			if info, err := os.Lstat(filepath.Join(dir, above)); err == nil && !info.IsDir() {
				remove(t, dir, above)
			}
		}
		if strings.HasSuffix(name, ".o") {
			content = strings.TrimPrefix(content, "-> ")
		}
		remove(t, dir, name)
		worktest.Write(t, dir, name, content)
	}
}
