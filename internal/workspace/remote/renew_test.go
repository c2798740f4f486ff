package remote

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
	"banger/internal/workspace/gitrepo"
)

// TestRenew: the newest of what the clone is of, whatever became of it meanwhile.
func TestRenew(t *testing.T) {
	dir := newRepo(t)
	git(t, dir, "branch", "v1", "topic") // as a tag is called, too
	shallow, full, branch, tag, pull := makeClone(t, dir, 1), makeClone(t, dir, 0), makeClone(t, dir+"#topic", 1), makeClone(t, dir+"#v1", 1), makeClone(t, dir+"#refs/pull/7/head", 1)
	one := makeClone(t, dir+"#"+git(t, dir, "rev-parse", "trunk~2"), 1)
	commit(t, dir, "four")
	git(t, dir, "checkout", "-q", "topic")
	commit(t, dir, "five")
	git(t, dir, "update-ref", "refs/heads/v1", "topic")
	git(t, dir, "update-ref", "refs/pull/7/head", "topic")
	git(t, dir, "checkout", "-q", "trunk")
	for _, c := range []struct {
		m    made
		o    gitrepo.GitOptions
		want string
	}{
		{shallow, gitrepo.GitOptions{}, "four three"},
		{shallow, gitrepo.GitOptions{}, "four three"}, // nothing is new
		{shallow, gitrepo.GitOptions{Depth: 3}, "four three two"},
		{shallow, gitrepo.GitOptions{History: "full"}, "four three two one"},
		{shallow, gitrepo.GitOptions{Depth: 1}, "four three two one"}, // what it has stays
		{full, gitrepo.GitOptions{Depth: 1}, "four three two one"},
		{branch, gitrepo.GitOptions{}, "five topic"},
		{tag, gitrepo.GitOptions{}, "five topic"}, // git clone took the branch
		{pull, gitrepo.GitOptions{}, "five topic"},
		{one, gitrepo.GitOptions{}, "one"},
	} {
		saved, err := c.m.renew(c.o)
		if got := c.m.log(); err != nil || got != c.want || saved != "" {
			t.Errorf("%s has %q, want %q (%q, %v)", c.m.r, got, c.want, saved, err)
		}
		if got := git(t, c.m.tree, "status", "--porcelain"); got != "" {
			t.Errorf("%s: not checked out: %s", c.m.r, got)
		}
	}
	git(t, dir, "reset", "-q", "--hard", "trunk~3") // a push by force
	commit(t, dir, "other")
	if _, err := full.renew(gitrepo.GitOptions{}); err != nil || full.log() != "other one" {
		t.Errorf("it has %q (%v)", full.log(), err)
	}
	if _, err := os.Stat(filepath.Join(full.tree, "four")); err == nil {
		t.Error("a file of the former tree is there")
	}
}

// TestRenewKeepsWork: changed files are in a snapshot, and commits are not left without a name.
func TestRenewKeepsWork(t *testing.T) {
	dir := newRepo(t)
	m := makeClone(t, dir, 0)
	must(t, os.WriteFile(filepath.Join(m.tree, "one"), []byte("mine\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(m.tree, "four"), []byte("in the way\n"), 0o644))
	commit(t, dir, "four")
	saved, err := m.renew(gitrepo.GitOptions{})
	must(t, err)
	if a, b := git(t, m.tree, "show", saved+":one"), git(t, m.tree, "show", saved+":four"); a != "mine" || b != "in the way" {
		t.Errorf("%s has %q and %q", saved, a, b)
	}
	if got := git(t, m.tree, "status", "--porcelain"); got != "" || m.log() != "four three two one" {
		t.Errorf("it is %s, and %s", m.log(), got)
	}
	commit(t, m.tree, "mine")
	commit(t, dir, "five")
	_, err = m.renew(gitrepo.GitOptions{})
	checkError(t, err, api.KindConflict, "commits were made there", "banger up --new "+m.tree)
	if got := m.log(); got != "mine four three two one" {
		t.Errorf("it has %q", got)
	}
}

// TestRenewKilled: half of a checkout, with the lock that a killed git leaves, is in nobody's way.
func TestRenewKilled(t *testing.T) {
	dir := newRepo(t)
	m := makeClone(t, dir, 0)
	commit(t, dir, "four")
	git(t, dir, "rm", "-q", "one")
	commit(t, dir, "five")
	s, err := Load(m.dir)
	must(t, err)
	git(t, m.tree, "fetch", "-q")
	s.Moving = git(t, m.tree, "rev-parse", "FETCH_HEAD")
	must(t, s.save(m.dir))
	must(t, os.WriteFile(filepath.Join(m.tree, "four"), []byte("fo"), 0o644))
	must(t, os.WriteFile(filepath.Join(m.tree, ".git/index.lock"), []byte("DIRC"), 0o644))
	_, err = m.renew(gitrepo.GitOptions{})
	must(t, err)
	if got := git(t, m.tree, "status", "--porcelain"); got != "" || m.log() != "five four three two one" {
		t.Errorf("it is %s, and %s", m.log(), got)
	}
	if s, err = Load(m.dir); err != nil || s.Moving != "" || s.Commit != git(t, dir, "rev-parse", "trunk") {
		t.Errorf("the state is %+v (%v)", s, err)
	}
	// Killed when it was checked out, but not recorded.
	s.Moving, s.Commit = s.Commit, git(t, dir, "rev-parse", "trunk~1")
	must(t, s.save(m.dir))
	if _, err := m.renew(gitrepo.GitOptions{}); err != nil {
		t.Error(err)
	}
	if s, err = Load(m.dir); err != nil || s.Moving != "" || s.Commit != git(t, dir, "rev-parse", "trunk") {
		t.Errorf("the state is %+v (%v)", s, err)
	}
}

// TestRenewFails when the remote is gone, and the clone is as it was.
func TestRenewFails(t *testing.T) {
	dir := newRepo(t)
	m := makeClone(t, dir, 0)
	must(t, os.Rename(dir, dir+".away"))
	_, err := m.renew(gitrepo.GitOptions{})
	checkError(t, err, api.KindInvalid, "cannot fetch the newest of file://"+dir, "banger up --commit "+m.tree)
	if got := m.log(); got != "three two one" {
		t.Errorf("it has %q", got)
	}
}

// TestDamagedState is named, with the way out.
func TestDamagedState(t *testing.T) {
	m := makeClone(t, newRepo(t), 0)
	for _, text := range []string{"", "{}", `{"Tree": "../x"}`, `{"Tree": ".."}`} {
		must(t, os.WriteFile(filepath.Join(m.dir, stateFile), []byte(text), 0o600))
		if _, err := Load(m.dir); text != `{"Tree": ".."}` {
			checkError(t, err, api.KindInternal, "is damaged", "mv "+m.dir)
		}
	}
}
