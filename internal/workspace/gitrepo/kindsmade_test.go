package gitrepo

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// outside adds what a sparse checkout leaves out: it stays in the tree.
func outside(c contents) {
	for name, text := range map[string]string{"out/x": "outside\n", "out/z/w": "outside, too\n"} {
		if _, made := c[name]; !made {
			c[name] = fileText(0o644, text)
		}
	}
}

// partial lacks what only older commits have, and what is outside of a sparse checkout.
func partial(t *testing.T, flags ...string) string {
	from, dir := newRepo(t), filepath.Join(t.TempDir(), "partial")
	git(t, from, "config", "uploadpack.allowFilter", "true")
	git(t, from, slices.Concat([]string{"clone", "-q", "--filter=blob:none"}, flags, []string{"file://" + from, dir})...)
	write(t, dir, "a", "edited\n", "new", "x\n")
	return dir
}

func conflict(t *testing.T) string {
	dir := newRepo(t)
	git(t, dir, "checkout", "-q", "-b", "other")
	write(t, dir, "a", "theirs\n", "gone", "changed\n", "dir/b", "merged\n")
	git(t, dir, "commit", "-q", "-am", "theirs")
	git(t, dir, "checkout", "-q", "main")
	write(t, dir, "a", "ours\n")
	git(t, dir, "rm", "-q", "gone")
	git(t, dir, "commit", "-q", "-am", "ours")
	if _, err := tryGit(dir, "merge", "other"); err == nil {
		t.Fatal("there was no conflict")
	}
	return dir
}

func sparse(t *testing.T, flags ...string) string {
	dir := newRepo(t)
	write(t, dir, "out/x", "outside\n", "out/z/w", "outside, too\n")
	git(t, dir, "add", "out")
	git(t, dir, "commit", "-q", "-m", "outside")
	patterns := []string{"dir"}
	if slices.Contains(flags, "--no-cone") {
		patterns = []string{"/*", "!/out/"}
	}
	git(t, dir, slices.Concat([]string{"sparse-checkout", "set"}, flags, patterns)...)
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Fatal("the checkout is not sparse")
	}
	write(t, dir, "dir/b", "edited\n", "new", "x\n")
	return dir
}

// programs names programs wherever git would run one at a command of ours; each leaves a file.
func programs(t *testing.T) string {
	dir := dirtyRepo(t)
	for _, name := range []string{"fsmonitor", "hooks/reference-transaction", "hooks/post-index-change", "hooks/post-checkout"} {
		file := filepath.Join(dir, ".git", name)
		write(t, dir, ".git/"+name, "#!/bin/sh\necho ran >> \"$0.ran\"\n")
		must(t, os.Chmod(file, 0o755))
	}
	git(t, dir, "config", "core.fsmonitor", filepath.Join(dir, ".git/fsmonitor"))
	git(t, dir, "config", "core.logAllRefUpdates", "always")
	git(t, dir, "config", "user.useConfigOnly", "true")
	git(t, dir, "config", "commit.gpgSign", "true")
	git(t, dir, "config", "gc.auto", "1")
	git(t, dir, "config", "init.templateDir", filepath.Join(dir, "dir"))
	return dir
}

// submodules has a dirty one with one of its own, which is dirty, too, and a clean one.
func submodules(t *testing.T) string {
	inner, sub, dir := newRepo(t), newRepo(t), newRepo(t)
	git(t, sub, "submodule", "--quiet", "add", inner, "inner")
	git(t, sub, "commit", "-q", "-m", "a submodule")
	git(t, dir, "submodule", "--quiet", "add", "--name", "odd name", sub, "sub")
	git(t, dir, "submodule", "--quiet", "add", sub, "subdir/clean")
	git(t, dir, "commit", "-q", "-m", "submodules")
	git(t, dir, "submodule", "--quiet", "update", "--init", "--recursive")
	write(t, dir, "a", "edited\n", "told.txt", "x\n", "sub/a", "edited in a submodule\n", "sub/inner/new", "new in a submodule's submodule\n")
	must(t, os.Remove(filepath.Join(dir, "gone")))
	// A commit that no branch has.
	git(t, filepath.Join(dir, "subdir/clean"), "checkout", "-q", "--detach")
	git(t, filepath.Join(dir, "subdir/clean"), "commit", "-q", "--allow-empty", "-m", "detached")
	return dir
}
