package history_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace/history"
	"banger/internal/workspace/worktest"
)

var ctx = context.Background()

// pair is a host's repository, and one of a guest with the newest of its commits, as up sends it.
func pair(t *testing.T, args ...string) (host, guest *worktest.Repo) {
	host = worktest.New(t, args...)
	for n := range 3 {
		host.Commit(t, map[string]string{"file": fmt.Sprint(n)})
	}
	host.Run(t, "tag", "v1")
	if _, err := host.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	guest = &worktest.Repo{Dir: filepath.Join(t.TempDir(), "guest")}
	host.Run(t, "clone", "-q", "--depth", "1", "--no-local", "file://"+host.Dir, guest.Dir)
	guest.Run(t, "config", "user.name", "A Guest")
	guest.Run(t, "config", "user.email", "guest@example.invalid")
	return host, guest
}

func fetch(t *testing.T, host, guest *worktest.Repo) history.Result {
	t.Helper()
	r, err := history.Fetch(ctx, host, request(guest))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func request(guest *worktest.Repo) history.Request {
	return history.Request{VM: worktest.VM, URL: "file://" + guest.Dir, Protocol: "file"}
}

// text is a result in words.
func text(r history.Result) string {
	var b strings.Builder
	for _, c := range r.Branches {
		what := fmt.Sprintf("%d new", c.Commits)
		if c.New == "" {
			what = "removed"
		}
		b.WriteString(strings.TrimSpace(c.Name+" "+what+" "+c.Former) + "\n")
	}
	for _, c := range r.Refused {
		fmt.Fprintf(&b, "refused %s: %s\n", c.Name, c.Why)
	}
	return b.String()
}

// refs are the references below a prefix.
func refs(t *testing.T, r *worktest.Repo, prefix string) string {
	t.Helper()
	return r.Run(t, "for-each-ref", "--format=%(refname)", prefix)
}

// users is what a fetch leaves as it is.
func users(t *testing.T, r *worktest.Repo) string {
	t.Helper()
	return fmt.Sprintf("%q", worktest.Files(t, filepath.Join(r.Dir, ".git"), "objects", "refs/banger", "refs/remotes/dev", "logs/refs/remotes/dev"))
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func TestCommitsComeAsTheyAre(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			host, guest := pair(t, "--object-format="+format)
			host.Run(t, "config", "fetch.prune", "true")
			host.Run(t, "config", "fetch.pruneTags", "true")
			host.Run(t, "config", "remote.other.url", "/nowhere")
			host.Run(t, "update-ref", "refs/remotes/other/main", "HEAD")
			guest.Commit(t, map[string]string{"a": "1"})
			guest.Commit(t, map[string]string{"a": "2"})
			guest.Run(t, "branch", "topic/one", "HEAD~1")
			guest.Run(t, "tag", "theirs")
			head := host.Run(t, "rev-parse", "HEAD")
			before := users(t, host)

			expect(t, "the first fetch", text(fetch(t, host, guest)), "main 2 new\ntopic/one 1 new")
			expect(t, "what is the user's", users(t, host), before)
			expect(t, "references", refs(t, host, "refs"), `
refs/banger/dev/1
refs/heads/main
refs/remotes/dev/main
refs/remotes/dev/topic/one
refs/remotes/other/main
refs/tags/v1`)
			if got, want := host.Run(t, "rev-parse", "dev/main"), guest.Run(t, "rev-parse", "main"); got != want {
				t.Errorf("dev/main is %s, not %s", got, want)
			}
			expect(t, "the fork", host.Run(t, "merge-base", "HEAD", "dev/main"), head)
			if _, err := os.Stat(filepath.Join(host.Dir, ".git/shallow")); err == nil {
				t.Error("the host's repository is shallow now")
			}
			if _, err := os.Stat(filepath.Join(host.Dir, ".git/FETCH_HEAD")); err == nil {
				t.Error("FETCH_HEAD was written")
			}
			expect(t, "again", text(fetch(t, host, guest)), "")
		})
	}
}

// TestNothingIsLost: what the guest rewrites or removes has a name as long as nothing else leads
// to it.
func TestNothingIsLost(t *testing.T) {
	host, guest := pair(t)
	guest.Commit(t, map[string]string{"a": "1"})
	guest.Run(t, "branch", "gone")
	guest.Run(t, "branch", "merged")
	fetch(t, host, guest)
	first := guest.Run(t, "rev-parse", "main")

	guest.Commit(t, map[string]string{"a": "2"})
	expect(t, "a commit upon it", text(fetch(t, host, guest)), "main 1 new")
	second := guest.Run(t, "rev-parse", "main")

	guest.Run(t, "branch", "-D", "merged")
	expect(t, "a removed branch that another has", text(fetch(t, host, guest)), "merged removed")

	guest.Run(t, "commit", "-q", "--amend", "-m", "other words")
	guest.Run(t, "branch", "-D", "gone")
	guest.Run(t, "branch", "gone/deeper") // which cannot be beside gone
	expect(t, "a rewritten branch", text(fetch(t, host, guest)), "gone/deeper 1 new\nmain 1 new refs/banger/dev/former/1\ngone removed")
	expect(t, "the former commit", host.Run(t, "rev-parse", "refs/banger/dev/former/1"), second)
	host.Run(t, "merge-base", "--is-ancestor", first, "dev/main")

	guest.Run(t, "reset", "-q", "--hard", "HEAD~2")
	guest.Run(t, "branch", "-D", "gone/deeper")
	expect(t, "two that leave the same commit", text(fetch(t, host, guest)), "main 0 new refs/banger/dev/former/2\ngone/deeper removed refs/banger/dev/former/2")

	removed, err := history.Prune(ctx, host, worktest.VM, 1)
	if err != nil || fmt.Sprint(removed) != "[refs/banger/dev/former/1]" {
		t.Error(removed, err)
	}
	expect(t, "what stays", refs(t, host, "refs/banger"), "refs/banger/dev/1\nrefs/banger/dev/former/2")
}

// TestAMalformedObjectIsRefused, and is not in the repository after that: the next fetch would
// not look at it again.
func TestAMalformedObjectIsRefused(t *testing.T) {
	host, guest := pair(t)
	blob := guest.Run(t, "rev-parse", "HEAD:file")
	id := hostileTree(t, guest, blob)
	commit := guest.Run(t, "commit-tree", id, "-m", "evil", "-p", "HEAD")
	guest.Run(t, "branch", "evil", commit)
	for range 2 {
		_, err := history.Fetch(ctx, host, request(guest))
		if err == nil || !strings.Contains(err.Error(), "hasDotgit") && !strings.Contains(err.Error(), ".git") {
			t.Fatalf("%v", err)
		}
		if _, err := host.Git(ctx, nil, nil, "cat-file", "-e", id); err == nil {
			t.Fatal("the malformed object is in the repository")
		}
	}
	expect(t, "references", refs(t, host, "refs/remotes"), "")
	host.Run(t, "fetch", "-q", "file://"+guest.Dir, "evil") // which takes it: the test can fail
	host.Run(t, "cat-file", "-e", id)
}

// hostileTree writes a tree with a file named .git.
func hostileTree(t *testing.T, guest *worktest.Repo, blob string) string {
	t.Helper()
	raw := "100644 .git\x00"
	for i := 0; i < len(blob); i += 2 {
		var b byte
		fmt.Sscanf(blob[i:i+2], "%02x", &b)
		raw += string([]byte{b})
	}
	path := filepath.Join(t.TempDir(), "tree")
	if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	return guest.Run(t, "hash-object", "-t", "tree", "-w", "--literally", path)
}

// TestARefusedPackIsNotThere: what git finds out only when it has all objects, as that a blob is a
// .gitmodules file. Objects that are there are never checked again, and a second fetch succeeds.
func TestARefusedPackIsNotThere(t *testing.T) {
	host, guest := pair(t)
	guest.Commit(t, map[string]string{".gitmodules": "[submodule \"../../x\"]\n\tpath = x\n\turl = https://example.invalid\n"})
	for range 2 {
		if _, err := history.Fetch(ctx, host, request(guest)); err == nil || !strings.Contains(err.Error(), "gitmodulesName") {
			t.Fatalf("%v", err)
		}
	}
	if _, err := host.Git(ctx, nil, nil, "cat-file", "-e", guest.Run(t, "rev-parse", "HEAD")); err == nil {
		t.Error("the commit is in the repository")
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	host, guest := pair(t)
	guest.Commit(t, map[string]string{"a": "1"})
	tip, blob := guest.Run(t, "rev-parse", "HEAD"), guest.Run(t, "rev-parse", "HEAD:a")
	packed := "# pack-refs with: peeled fully-peeled sorted \n"
	for _, line := range []string{
		blob + " refs/heads/a-blob", tip + " refs/heads/Dir/x", tip + " refs/heads/HEAD", tip + " refs/heads/MAIN", tip + " refs/heads/dir/y",
		tip + " refs/heads/fine", tip + " refs/heads/invisible\u202e", tip + " refs/heads/-x",
	} {
		packed += line + "\n"
	}
	packed = strings.Replace(packed, "sorted ", "", 1)
	if err := os.WriteFile(filepath.Join(guest.Dir, ".git/packed-refs"), []byte(packed), 0o600); err != nil {
		t.Fatal(err)
	}
	host.Run(t, "update-ref", "refs/remotes/dev/main", "HEAD") // refused, so it stays
	r := fetch(t, host, guest)
	expect(t, "the result", text(r), `
Dir/x 1 new
MAIN 1 new
fine 1 new
refused -x: git's commands would take its name for an option
refused HEAD: git would take its name for the VM's main branch
refused a-blob: it is not a commit
refused dir/y: its name differs from that of Dir only in case
refused invisible`+"\u202e"+`: its name has characters that are not shown
refused main: its name differs from that of MAIN only in case`)
	expect(t, "main", host.Run(t, "rev-parse", "dev/main"), host.Run(t, "rev-parse", "HEAD"))
	expect(t, "what is left", refs(t, host, "refs/banger"), "refs/banger/dev/1")
	if r.Total != 3 {
		t.Errorf("%d branches", r.Total)
	}
}

// TestARemoteOfTheUsers has the same name as the VM, or its branches where the VM's would be.
func TestARemoteOfTheUsers(t *testing.T) {
	for _, settings := range [][2]string{{"remote.dev.url", "https://example.invalid"}, {"remote.a.b.fetch", "+refs/heads/*:refs/remotes/dev/b/*"}} {
		host, guest := pair(t)
		host.Run(t, "config", settings[0], settings[1])
		host.Run(t, "update-ref", "refs/remotes/dev/b/main", "HEAD")
		_, err := history.Fetch(ctx, host, request(guest))
		if api.KindOf(err) != api.KindConflict {
			t.Error(err)
		}
		expect(t, "references", refs(t, host, "refs/remotes"), "refs/remotes/dev/b/main")
	}
}

// TestNothingElseRuns: no hook, no other protocol, no submodule, although the user's settings ask
// for them.
func TestNothingElseRuns(t *testing.T) {
	host, guest := pair(t)
	guest.Commit(t, map[string]string{"a": "1"})
	marker := filepath.Join(t.TempDir(), "marker")
	worktest.Write(t, host.Dir, ".git/hooks/reference-transaction", "#!/bin/sh\ntouch "+marker+"\n")
	worktest.Write(t, host.Dir, ".git/hooks/post-merge", "#!/bin/sh\ntouch "+marker+"\n")
	host.Run(t, "config", "fetch.recurseSubmodules", "true")
	host.Run(t, "config", "protocol.ext.allow", "always")
	fetch(t, host, guest)
	if _, err := os.Stat(marker); err == nil {
		t.Error("a hook ran")
	}
	host.Run(t, "config", "url.ext::touch "+marker+" .insteadOf", "file://"+guest.Dir)
	if _, err := history.Fetch(ctx, host, request(guest)); err != nil {
		t.Log(err)
	} else {
		t.Error("another protocol was used")
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program ran")
	}
}

// TestInterrupted: whatever command is the last, the next fetch ends with the same.
func TestInterrupted(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 4
	}
	for stop := 1; ; stop += step {
		host, guest := pair(t)
		guest.Commit(t, map[string]string{"a": "1"})
		guest.Run(t, "branch", "gone")
		fetch(t, host, guest)
		former := guest.Run(t, "rev-parse", "gone")
		guest.Run(t, "reset", "-q", "--hard", "HEAD~1")
		guest.Commit(t, map[string]string{"b": "1"})
		guest.Run(t, "branch", "-D", "gone")
		guest.Run(t, "branch", "gone/deeper")
		calls := 0
		host.Fail = func([]string) error {
			if calls++; calls == stop {
				return api.Errorf(api.KindInternal, "killed")
			}
			return nil
		}
		_, err := history.Fetch(ctx, host, request(guest))
		host.Fail = nil
		host.Run(t, "cat-file", "-e", former)
		if only := host.Run(t, "rev-list", "--max-count=1", former, "--not", "--all"); only != "" {
			t.Fatalf("step %d: nothing leads to the former commit", stop)
		}
		fetch(t, host, guest)
		expect(t, fmt.Sprint("references after step ", stop), refs(t, host, "refs"), `
refs/banger/dev/1
refs/banger/dev/former/1
refs/heads/main
refs/remotes/dev/gone/deeper
refs/remotes/dev/main
refs/tags/v1`)
		expect(t, "the former commit", host.Run(t, "rev-parse", "refs/banger/dev/former/1"), former)
		if err == nil {
			return // all steps were tried
		}
	}
}
