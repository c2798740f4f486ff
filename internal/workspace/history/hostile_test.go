package history_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/workspace/history"
	"banger/internal/workspace/worktest"
)

// through makes the fetch run a shell command in the place of git-upload-pack in the guest. $1 is
// the repository.
func through(t *testing.T, guest *worktest.Repo, script string) history.Request {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "upload")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return history.Request{VM: worktest.VM, URL: "ext::" + path + " " + strings.ReplaceAll(guest.Dir, " ", "% "), Protocol: "ext"}
}

// temporary are the files that git has begun to receive.
func temporary(t *testing.T, r *worktest.Repo) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(r.Dir, ".git/objects/pack/tmp_*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// noise are n bytes that do not compress.
func noise(n int) string {
	b := make([]byte, n)
	for i, x := 0, uint32(1); i < n; i++ {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

// TestDamagedPacks: a pack is cut, has other bytes in it, or lacks objects that it names. Nothing
// of it is in the repository, in no form, and the next fetch takes what is right.
func TestDamagedPacks(t *testing.T) {
	host, guest := pair(t)
	guest.Commit(t, map[string]string{"large": noise(200_000)})
	tip := guest.Run(t, "rev-parse", "HEAD")
	blob := guest.Run(t, "rev-parse", "HEAD:large")
	before := users(t, host)
	for name, script := range map[string]string{
		"cut":            `git-upload-pack "$1" | dd bs=1 count=60000 2>/dev/null`,
		"ends at once":   `exit 0`,
		"not git":        `while printf 'HTTP/1.1 200 OK\r\n'; do :; done`,
		"endless length": `printf 'fff0'; dd if=/dev/zero bs=64k count=1 2>/dev/null`,
	} {
		_, err := history.Fetch(ctx, host, through(t, guest, script))
		if err == nil {
			t.Errorf("%s: it is accepted", name)
		}
		for _, id := range []string{tip, blob} {
			if _, err := host.Git(ctx, nil, nil, "cat-file", "-e", id); err == nil {
				t.Errorf("%s: %s is in the repository", name, id)
			}
		}
		if left := temporary(t, host); len(left) > 0 {
			t.Errorf("%s: left are %q", name, left)
		}
		expect(t, name+": references", refs(t, host, "refs/remotes"), "")
		expect(t, name+": what is the user's", users(t, host), before)
	}
	expect(t, "then", text(fetch(t, host, guest)), "main 1 new")
	host.Run(t, "fsck", "--strict")
}

// TestAMissingObject: a commit comes without its files, so a checkout of it would fail.
func TestAMissingObject(t *testing.T) {
	host, guest := pair(t)
	guest.Commit(t, map[string]string{"large": noise(1000)})
	blob := guest.Run(t, "rev-parse", "HEAD:large")
	// The guest claims that a pack without the blob is all there is.
	guest.Run(t, "config", "uploadpack.allowFilter", "true")
	pack := filepath.Join(t.TempDir(), "pack")
	guest.Run(t, "config", "uploadpack.packObjectsHook", pack)
	script := "#!/bin/sh\ncat > /dev/null\n{ git rev-list -1 HEAD; git rev-parse HEAD^{tree}; } | git pack-objects --stdout -q\n"
	if err := os.WriteFile(pack, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	// Git takes the hook from the settings of the user or system alone, which the guest's are.
	_, err := history.Fetch(ctx, host, through(t, guest, fmt.Sprintf(
		`exec git -c uploadpack.packObjectsHook=%s upload-pack "$1"`, pack)))
	if err == nil || !strings.Contains(err.Error(), blob) && !strings.Contains(err.Error(), "missing") {
		t.Errorf("%v", err)
	}
	expect(t, "references", refs(t, host, "refs/remotes"), "")
	expect(t, "then", text(fetch(t, host, guest)), "main 1 new")
	host.Run(t, "cat-file", "-e", blob)
	host.Run(t, "fsck", "--strict")
}

// TestAPackOfAnother: the files of another git that receives a pack at the same time stay.
func TestAPackOfAnother(t *testing.T) {
	host, guest := pair(t)
	guest.Commit(t, map[string]string{"large": noise(200_000)})
	pack := filepath.Join(host.Dir, ".git/objects/pack")
	old := filepath.Join(pack, "tmp_pack_before")
	if err := os.WriteFile(old, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(pack, "tmp_pack_open")
	// The guest's program stands for another git: it has a file open until the test ends.
	pid := filepath.Join(t.TempDir(), "pid")
	t.Cleanup(func() { _ = exec.Command("sh", "-c", "kill $(cat "+pid+")").Run() })
	script := fmt.Sprintf(`sleep 100 3>'%s' >/dev/null 2>&1 & echo $! > %s; git-upload-pack "$1" | dd bs=1 count=60000 2>/dev/null`, other, pid)
	if _, err := history.Fetch(ctx, host, through(t, guest, script)); err == nil {
		t.Error("it is accepted")
	}
	left := temporary(t, host)
	if len(left) != 2 || left[0] != old || left[1] != other {
		t.Errorf("left are %q", left)
	}
}
