// Package worktest has what the tests of the packages of a workspace share: a real repository,
// and a guest that is a directory of this host.
package worktest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/host/execx"
)

// VM is the name of the VM of all tests.
const VM = "dev"

// Repo is a repository with a work tree. Its methods are those of the product's, made small.
type Repo struct {
	Dir string
	// Fail is asked before each command that Git runs; its error is that of the command.
	Fail  func(args []string) error
	Calls int // of Git
}

// New makes an empty repository, with git configured for nobody but the test.
func New(t testing.TB, args ...string) *Repo {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	r := &Repo{Dir: filepath.Join(t.TempDir(), "a work tree")}
	if err := os.Mkdir(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Run(t, append([]string{"init", "-q", "-b", "main"}, args...)...)
	r.Run(t, "config", "gc.auto", "0") // it would continue in the background
	r.Run(t, "config", "user.name", "A User")
	r.Run(t, "config", "user.email", "user@example.invalid")
	return r
}

// Top is the work tree.
func (r *Repo) Top() string { return r.Dir }

// Git runs a git command with the settings that the product uses.
func (r *Repo) Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error) {
	r.Calls++
	if r.Fail != nil {
		if err := r.Fail(args); err != nil {
			return nil, err
		}
	}
	safe := []string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"}
	return r.run(ctx, append([]string{"GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0"}, env...), stdin, append(safe, args...)...)
}

func (r *Repo) run(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := execx.Run(ctx, execx.Cmd{Name: "git", Args: args, Dir: r.Dir, Env: env, Stdin: stdin, Stdout: &out})
	return out.Bytes(), err
}

// Run runs a git command as the user would, and returns its output without the last newline.
func (r *Repo) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := r.run(context.Background(), nil, nil, args...)
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Write writes a file of the work tree; in content, a leading "-> " makes a symbolic link and
// "#!" a program.
func (r *Repo) Write(t testing.TB, name, content string) {
	t.Helper()
	Write(t, r.Dir, name, content)
}

// Commit writes files and commits everything.
func (r *Repo) Commit(t testing.TB, files map[string]string) {
	t.Helper()
	for name, content := range files {
		r.Write(t, name, content)
	}
	r.Run(t, "add", "-A")
	r.Run(t, "commit", "-q", "--allow-empty", "-m", "a commit")
}

// Snapshot records the work tree as a commit upon HEAD, or returns the newest one if nothing
// changed.
func (r *Repo) Snapshot(ctx context.Context) (string, error) {
	index := filepath.Join(r.Dir, ".git", fmt.Sprintf("index-%d", os.Getpid()))
	defer os.Remove(index)
	original := filepath.Join(r.Dir, ".git/index")
	if info, err := os.Stat(original); err == nil {
		data, err := os.ReadFile(original)
		if err == nil {
			err = os.WriteFile(index, data, 0o600)
		}
		if err == nil { // a later time would make git miss a change at the instant of the last add
			err = os.Chtimes(index, info.ModTime(), info.ModTime())
		}
		if err != nil {
			return "", err
		}
	}
	env := []string{
		"GIT_INDEX_FILE=" + index, "GIT_AUTHOR_NAME=banger", "GIT_AUTHOR_EMAIL=host@banger.invalid",
		"GIT_COMMITTER_NAME=banger", "GIT_COMMITTER_EMAIL=host@banger.invalid",
	}
	if _, err := r.run(ctx, env, nil, "add", "-A"); err != nil {
		return "", err
	}
	out, err := r.run(ctx, env, nil, "write-tree")
	if err != nil {
		return "", err
	}
	tree := strings.TrimSpace(string(out))
	newest, _ := r.run(ctx, nil, nil, "for-each-ref", "--sort=-version:refname", "--count=1", "--format=%(tree) %(objectname)", "refs/banger/"+VM+"/")
	if known, id, _ := strings.Cut(strings.TrimSpace(string(newest)), " "); known == tree {
		return id, nil
	}
	args := []string{"commit-tree", tree, "-m", "before"}
	if head, err := r.run(ctx, nil, nil, "rev-parse", "-q", "--verify", "HEAD"); err == nil {
		args = append(args, "-p", strings.TrimSpace(string(head)))
	}
	if out, err = r.run(ctx, env, nil, args...); err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	return id, r.Record(ctx, id)
}

// Record names a commit with the next number of the series.
func (r *Repo) Record(ctx context.Context, commit string) error {
	out, err := r.run(ctx, nil, nil, "for-each-ref", "--format=%(refname)", "refs/banger/"+VM+"/")
	if err != nil {
		return err
	}
	n := len(strings.Fields(string(out))) + 1
	_, err = r.run(ctx, nil, nil, "update-ref", fmt.Sprintf("refs/banger/%s/%d", VM, n), commit, "")
	return err
}
