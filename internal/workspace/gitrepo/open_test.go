package gitrepo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
)

// TestOpenFindsTheTop: whatever leads to a work tree, it has one name.
func TestOpenFindsTheTop(t *testing.T) {
	dir, links := newRepo(t), t.TempDir()
	link := filepath.Join(links, "a link")
	must(t, os.Symlink(dir, link))
	must(t, os.Symlink(filepath.Join(dir, "dir", "deep"), filepath.Join(links, "deep")))
	for _, path := range []string{dir, dir + "/", dir + "/dir/deep", link, link + "/dir/../dir", filepath.Join(links, "deep"), dir + "/ignored"} {
		r := open(t, path)
		if r.Top() != dir || r.Folder() {
			t.Errorf("the top of %s is %s (folder: %v), want %s", path, r.Top(), r.Folder(), dir)
		}
	}
	t.Chdir(filepath.Join(dir, "dir"))
	if r := open(t, "."); r.Top() != dir {
		t.Errorf("the top of . is %s", r.Top())
	}
}

// TestOpenFindsFolders: a directory is in no repository, though something above it is named .git.
func TestOpenFindsFolders(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"plain/sub", "empty/.git", "empty/sub", "junk/.git/objects", "junk/sub"} {
		must(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	for _, sub := range []string{"plain", "plain/sub", "empty", "empty/sub", "junk", "junk/sub"} {
		r, err := Open(t.Context(), filepath.Join(dir, sub), filepath.Join(dir, "own"))
		must(t, err)
		if !r.Folder() || r.Top() != filepath.Join(dir, sub) {
			t.Errorf("%s: folder %v, top %s", sub, r.Folder(), r.Top())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "own")); err == nil {
		t.Error("the own repository was made before it was needed")
	}
}

// TestOpenRefuses: each refusal says what is wrong, and what to do if there is something.
func TestOpenRefuses(t *testing.T) {
	dir := newRepo(t)
	git(t, dir, "worktree", "add", "-q", "../linked")
	elsewhere := newRepo(t)
	git(t, elsewhere, "config", "core.worktree", t.TempDir())
	bare, broken, damaged := filepath.Join(t.TempDir(), "bare.git"), t.TempDir(), newRepo(t)
	git(t, dir, "clone", "-q", "--bare", dir, bare)
	write(t, broken, ".git", "gitdir: /nonexistent\n")
	write(t, damaged, ".git/config", "[core\n")
	loop := filepath.Join(t.TempDir(), "loop")
	must(t, os.Symlink(loop, loop))
	for _, c := range []struct {
		path string
		kind api.Kind
		says string
		hint string
	}{
		{dir + "/missing", api.KindNotFound, "no such file", ""},
		{loop, api.KindInvalid, "too many", ""},
		{dir + "/a", api.KindInvalid, "not a directory", dir},
		{dir + "/a/b", api.KindInvalid, "not a directory", ""},
		{dir + "/.git", api.KindInvalid, "inside a repository's .git", "files"},
		{dir + "/.git/refs/heads", api.KindInvalid, "inside a repository's .git", "files"},
		{dir + "/.git/worktrees/linked", api.KindInvalid, "inside a repository's .git", "files"},
		{bare, api.KindInvalid, "bare repository", "git clone"},
		{bare + "/objects", api.KindInvalid, "bare repository", "git clone"},
		{elsewhere, api.KindInvalid, "elsewhere", "core.worktree"},
		{broken, api.KindInternal, "/nonexistent", ""},
		{damaged, api.KindInternal, "bad config line 1", ""},
	} {
		_, err := Open(t.Context(), c.path, t.TempDir())
		checkError(t, err, c.kind, c.says, c.hint)
	}
	_, err := Open(t.Context(), t.TempDir(), "")
	checkError(t, err, api.KindInvalid, "in no git repository", "git init")
}

func checkError(t testing.TB, err error, kind api.Kind, says, hint string) {
	t.Helper()
	if err == nil {
		t.Errorf("there is no error; want one of kind %s with %q", kind, says)
		return
	}
	e := api.AsError(err)
	if e.Kind != kind || !strings.Contains(e.Message, says) || !strings.Contains(e.Hint, hint) || strings.Contains(e.Message, "%!") {
		t.Errorf("the error is %s: %s\n  hint: %s\nwant %s, %q, and a hint with %q", e.Kind, e.Message, e.Hint, kind, says, hint)
	}
}

// TestOpenOfAnotherUsersRepository: the error has what git says to type.
func TestOpenOfAnotherUsersRepository(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root can give a repository to another user")
	}
	dir := newRepo(t)
	must(t, os.Chown(dir, nobody, nobody))
	must(t, os.Chown(filepath.Join(dir, ".git"), nobody, nobody))
	_, err := Open(t.Context(), dir, "")
	checkError(t, err, api.KindDenied, "belongs to another user", "git config --global --add safe.directory "+dir)
	config := filepath.Join(t.TempDir(), "config")
	write(t, filepath.Dir(config), "config", "[safe]\n\tdirectory = "+dir+"\n")
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	r, err := Open(t.Context(), dir, "")
	must(t, err)
	// The other end of the fetch looks at the owner, too.
	ship(t, r, Select{}, GitOptions{})
}

// TestWithoutGit: the error says what to install.
func TestWithoutGit(t *testing.T) {
	dir := newRepo(t)
	t.Setenv("PATH", t.TempDir())
	if _, err := exec.LookPath("git"); err == nil {
		t.Fatal("git is still found")
	}
	_, err := Open(t.Context(), dir, t.TempDir())
	checkError(t, err, api.KindUnsupported, "git is not installed", "apt-get install git")
	_, err = Open(t.Context(), t.TempDir(), t.TempDir())
	checkError(t, err, api.KindUnsupported, "git is not installed", "apt-get install git")
}

const (
	nobody  = 65534
	roleEnv = "BANGER_TEST_GITREPO_ROLE"
)

// asNobody runs a role as another user than root, and returns what it prints.
func asNobody(t *testing.T, role string, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	// The test program is in a directory that only root can enter.
	program := filepath.Join(t.TempDir(), "program")
	data, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	for dir := filepath.Dir(program); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = "/", append(gitEnv(), roleEnv+"="+role, "HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the role %s: %v: %s", role, err, out)
	}
	return string(out)
}
