package gitrepo

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"banger/internal/host/userns"
)

func TestMain(m *testing.M) {
	userns.Main(map[string]userns.Job{jobFullDisk: runFullDisk})
	if os.Getenv(roleEnv) != "" {
		os.Exit(runRole())
	}
	// Nobody's config but the tests' own. The variables are those of a hook that runs the tests.
	home, err := os.MkdirTemp("", "gitrepo-home-")
	if err != nil {
		panic(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_DIR": "/nonexistent", "GIT_INDEX_FILE": "/nonexistent", "GIT_OBJECT_DIRECTORY": "/nonexistent", "GIT_CONFIG_COUNT": "nonsense",
	} {
		os.Setenv(name, value)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(home)
		os.Exit(code)
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gitEnv is the environment of the user's own git.
func gitEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "GIT_CONFIG_NOSYSTEM")
	})
	return append(env, "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C.UTF-8",
		"GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@example.org", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@example.org")
}

// git is the user's git, whose failure is a failure of the test.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(dir, args...)
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	return out
}

func tryGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir, cmd.Env = dir, gitEnv()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// write writes files, whose content is the text after each name.
func write(t testing.TB, dir string, nameAndText ...string) {
	t.Helper()
	for i := 0; i < len(nameAndText); i += 2 {
		file := filepath.Join(dir, nameAndText[i])
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(nameAndText[i+1]), 0o644))
	}
}

// newRepo has two commits, an executable, a link, and an ignored directory.
func newRepo(t testing.TB, init ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	must(t, os.Mkdir(dir, 0o755))
	git(t, dir, append([]string{"init", "-q", "-b", "main"}, init...)...)
	write(t, dir, "a", "one\n", "dir/b", "two\n", "dir/deep/c", "three\n", "run.sh", "#!/bin/sh\n", "gone", "x\n", "empty", "", ".gitignore", "ignored*\n")
	must(t, os.Chmod(filepath.Join(dir, "run.sh"), 0o755))
	must(t, os.Symlink("dir/b", filepath.Join(dir, "link")))
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "first")
	write(t, dir, "a", "one more\n")
	git(t, dir, "commit", "-q", "-am", "second")
	write(t, dir, "ignored/big", "not shipped\n", "dir/ignored.o", "not shipped\n")
	return dir
}

// dirty changes files in the ways that there are.
func dirty(t testing.TB, dir string) {
	t.Helper()
	write(t, dir, "a", "edited\n", "new", "untracked\n", "sub dir/ü\n.txt", "name with a newline\n", "latin-1 \xfc", "not UTF-8\n", "staged", "staged\n", ":(glob)*", "looks like a pathspec\n")
	git(t, dir, "add", "staged")
	write(t, dir, "staged", "edited after it was staged\n")
	must(t, os.Remove(filepath.Join(dir, "gone")))
	must(t, os.Chmod(filepath.Join(dir, "dir/b"), 0o755))
	must(t, os.Remove(filepath.Join(dir, "link")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "link")))
}

func open(t testing.TB, dir string) *Repo {
	t.Helper()
	r, err := Open(t.Context(), dir, filepath.Join(t.TempDir(), "own", "git"))
	must(t, err)
	return r
}

// contents are the files of a tree by path: their kind and content.
type contents map[string]string

func fileText(mode fs.FileMode, text string) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "link " + text
	case mode&0o100 != 0:
		return "exec " + text
	}
	return "file " + text
}

// onDisk is what lies in a directory, as anybody sees it: without .git, and without what the
// tests have ignored.
func onDisk(t testing.TB, dir string) contents {
	t.Helper()
	all := contents{}
	must(t, filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == ".git" || strings.HasPrefix(d.Name(), "ignored") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		name, _ := filepath.Rel(dir, file)
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return err
		}
		text := ""
		if d.Type()&fs.ModeSymlink != 0 {
			text, err = os.Readlink(file)
		} else {
			var data []byte
			data, err = os.ReadFile(file)
			text = string(data)
		}
		all[name] = fileText(info.Mode(), text)
		return err
	}))
	return all
}

// inTar is what a tar stream has, and unpacks it into a directory.
func inTar(t testing.TB, stream io.Reader, into string) contents {
	t.Helper()
	all := contents{}
	for in := tar.NewReader(stream); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		file := filepath.Join(into, h.Name)
		data, err := io.ReadAll(in)
		must(t, err)
		switch mode := fs.FileMode(h.Mode); h.Typeflag {
		case tar.TypeDir:
			must(t, os.MkdirAll(file, 0o755))
			continue
		case tar.TypeSymlink:
			all[h.Name] = fileText(fs.ModeSymlink, h.Linkname)
			must(t, os.Symlink(h.Linkname, file))
		case tar.TypeReg:
			all[h.Name] = fileText(mode, string(data))
			must(t, os.WriteFile(file, data, mode))
			must(t, os.Chtimes(file, h.ModTime, h.ModTime))
		default:
			t.Fatalf("%s is a tar entry of type %q", h.Name, h.Typeflag)
		}
		if path.Clean(h.Name) != h.Name {
			t.Errorf("%q is not a clean name", h.Name)
		}
	}
}

// inCommit is what a commit has, with its submodules' commits.
func inCommit(t testing.TB, dir string, env []string, commit string) contents {
	t.Helper()
	all := contents{}
	run := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, append(gitEnv(), env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v in %s: %v", args, dir, err)
		}
		return string(out)
	}
	for _, entry := range zeros([]byte(run("ls-tree", "-r", "-z", commit))) {
		head, name, _ := strings.Cut(entry, "\t")
		f := strings.Fields(head)
		switch f[0] {
		case "160000":
			if _, err := os.Lstat(filepath.Join(dir, name, ".git")); err != nil {
				continue
			}
			for inner, text := range inCommit(t, filepath.Join(dir, name), nil, f[2]) {
				all[path.Join(name, inner)] = text
			}
		case "120000":
			all[name] = fileText(fs.ModeSymlink, run("cat-file", "blob", f[2]))
		case "100755":
			all[name] = fileText(0o755, run("cat-file", "blob", f[2]))
		default:
			all[name] = fileText(0o644, run("cat-file", "blob", f[2]))
		}
	}
	return all
}

func compare(t testing.TB, what string, got, want contents) {
	t.Helper()
	for name, text := range want {
		if there, ok := got[name]; !ok {
			t.Errorf("%s lacks %q", what, name)
		} else if there != text {
			t.Errorf("%s has %q: %.80q, want %.80q", what, name, there, text)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s has %q, which is not there", what, name)
		}
	}
}
