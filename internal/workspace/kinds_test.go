package workspace_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/workspace/worktest"
)

// repoKind is a kind of repository, or a state that one is in.
type repoKind struct {
	name string
	// make makes one with the files one and two, and returns its work tree, and the repository's
	// own if that is another.
	make func(t *testing.T) (top, main string)
	// stored is what git stores of a content, if that is another.
	stored func(string) string
}

var repoKinds = []repoKind{
	{name: "detached", make: made(func(t *testing.T, top string) { user(t, top, "checkout", "-q", "--detach") })},
	{name: "unborn", make: made(func(t *testing.T, top string) { user(t, top, "checkout", "-q", "--orphan", "new") })},
	{name: "a lock that is held", make: made(func(t *testing.T, top string) {
		for _, name := range []string{".git/index.lock", ".git/HEAD.lock", ".git/config.lock"} {
			worktest.Write(t, top, name, "")
		}
	})},
	{name: "conflict markers", make: made(func(t *testing.T, top string) {
		diverge(t, top)
		if err := command(top, "merge", "-q", "other").Run(); err == nil {
			t.Fatal("there was no conflict")
		}
	})},
	{name: "rebase half way", make: made(func(t *testing.T, top string) {
		diverge(t, top)
		if err := command(top, "-c", "user.name=U", "-c", "user.email=u@example.com", "rebase", "-q", "other").Run(); err == nil {
			t.Fatal("the rebase did not stop")
		}
	})},
	{name: "sparse", make: made(func(t *testing.T, top string) {
		worktest.Write(t, top, "out/x", "x\n")
		worktest.Write(t, top, "in/x", "x\n")
		commitAll(t, top)
		user(t, top, "sparse-checkout", "set", "--cone", "--sparse-index", "in")
	})},
	{name: "linked work tree", make: func(t *testing.T) (string, string) {
		main, _ := made(func(*testing.T, string) {})(t)
		linked := filepath.Join(t.TempDir(), "linked")
		user(t, main, "worktree", "add", "-q", "-b", "side", linked)
		return linked, main
	}},
	{name: "shallow", make: func(t *testing.T) (string, string) { return cloned(t, "--depth=1") }},
	{name: "objects elsewhere", make: func(t *testing.T) (string, string) { return cloned(t, "--shared") }},
	{name: "sha256", make: made(func(*testing.T, string) {}, "--object-format=sha256")},
	{name: "filters, as of LFS", stored: rot13, make: made(func(t *testing.T, top string) {
		for _, which := range []string{"clean", "smudge"} {
			user(t, top, "config", "filter.rot."+which, "tr a-zA-Z n-za-mN-ZA-M")
		}
		user(t, top, "config", "filter.rot.required", "true")
		worktest.Write(t, top, ".gitattributes", "* filter=rot\n.gitattributes -filter\n")
		commitAll(t, top)
	})},
	{name: "a path with anything", make: func(t *testing.T) (string, string) {
		from, _ := made(func(*testing.T, string) {})(t)
		top := filepath.Join(t.TempDir(), " ein \"Ort\" [x]*%41\nmit Ümläuten\\ ")
		if err := os.Rename(from, top); err != nil {
			t.Fatal(err)
		}
		return top, top
	}},
}

// user runs git as the user does.
func user(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := command(dir, append([]string{"-c", "user.name=U", "-c", "user.email=u@example.com"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return string(out)
}

func commitAll(t *testing.T, top string) {
	t.Helper()
	user(t, top, "add", "-A")
	user(t, top, "commit", "-q", "-m", "more")
}

// made makes a repository with two commits, which change then changes.
func made(change func(t *testing.T, top string), args ...string) func(t *testing.T) (string, string) {
	return func(t *testing.T) (string, string) {
		t.Helper()
		top := filepath.Join(t.TempDir(), "repo")
		if err := os.Mkdir(top, 0o755); err != nil {
			t.Fatal(err)
		}
		user(t, top, append([]string{"init", "-q", "-b", "main"}, args...)...)
		worktest.Write(t, top, "one", "zero\n")
		commitAll(t, top)
		worktest.Write(t, top, "one", "one\n")
		worktest.Write(t, top, "two", "two\n")
		commitAll(t, top)
		change(t, top)
		return top, top
	}
}

func cloned(t *testing.T, how string) (string, string) {
	t.Helper()
	from, _ := made(func(*testing.T, string) {})(t)
	top := filepath.Join(t.TempDir(), "clone")
	user(t, from, "clone", "-q", how, "file://"+from, top)
	return top, top
}

// diverge makes a branch whose one is another.
func diverge(t *testing.T, top string) {
	t.Helper()
	user(t, top, "checkout", "-q", "-b", "other", "HEAD~1")
	worktest.Write(t, top, "one", "theirs\n")
	commitAll(t, top)
	user(t, top, "checkout", "-q", "main")
}

func rot13(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case r >= 'A' && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		}
		return r
	}, s)
}

// TestAnyRepository: whatever the repository is like, its files go to the guest, come back, are
// applied, taken back and synced; and nothing of git's changes that is the user's.
func TestAnyRepository(t *testing.T) {
	for n, k := range repoKinds {
		if testing.Short() && n%3 != 0 {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			top, main := k.make(t)
			f := &fixture{t: t, top: top, guest: &dirGuest{root: t.TempDir()}, states: t.TempDir()}
			f.w = f.open(f.states)
			untouched := (&worktest.Repo{Dir: main}).Untouched(t)
			if err := f.ship(); err != nil {
				t.Fatal(err)
			}
			s := syncedOf(f)
			s.same()
			untouched()
			k.returns(t, s)
			untouched()
			k.syncs(t, s)
			untouched()
		})
	}
}

// returns brings changes of the guest here, and takes them back.
func (k repoKind) returns(t *testing.T, s *synced) {
	before := worktest.Files(t, s.top, ".git")
	s.onGuest("one", "guest\n")
	s.onGuest("two", "")
	s.onGuest("ünter/new line\n", "new\n")
	s.onGuest(".git/hooks/post-checkout", "#!/bin/sh\ntouch owned\n")
	s.want("what has changed", strings.TrimSuffix(s.collect(), "\n"), "M one", "D two", "A ünter/new line\n")
	shipment, _, err := s.w.Shipment(vm.ID)
	if err != nil {
		t.Fatal(err)
	}
	if k.stored != nil {
		blob, err := exec.Command("git", "-C", s.top, "cat-file", "blob", s.w.Newest(shipment)+":one").Output()
		if err != nil || string(blob) != k.stored("guest\n") {
			t.Errorf("git stores %q, %v", blob, err)
		}
	}
	if _, err := s.w.Apply(t.Context(), shipment, s.w.Newest(shipment), false); err != nil {
		t.Fatal(err)
	}
	s.same()
	if _, err := s.w.Undo(t.Context(), vm.ID); err != nil {
		t.Fatal(err)
	}
	if after := worktest.Files(t, s.top, ".git"); !maps.Equal(after, before) {
		t.Errorf("undone, there is %q, before it was %q", after, before)
	}
}

// syncs makes both sides the same, with a change on each and a conflict.
func (k repoKind) syncs(t *testing.T, s *synced) {
	s.onHost("host", "host\n")
	s.onGuest("guest", "guest\n")
	s.want("sync", s.sync(""), "> host", "< guest", "< one", "< two", "< ünter/new line\n")
	s.same()
	s.want("then", s.sync(""))
	s.onHost("one", "mine\n")
	s.onGuest("one", "theirs\n")
	s.want("both", s.sync(""), "! one: it was changed on both sides")
	s.want("decided", s.sync("host"), "> one")
	s.same()
}
