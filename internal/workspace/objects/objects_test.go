package objects_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"banger/internal/workspace/objects"
	"banger/internal/workspace/worktest"
)

var ctx = context.Background()

func TestTreeAndChanges(t *testing.T) {
	r := worktest.New(t)
	r.Commit(t, map[string]string{"a\n\"b": "1\n", "run": "#!x\n", "dir/link": "-> ../run", "gone": "g\n"})
	r.Run(t, "rm", "-q", "gone")
	r.Commit(t, map[string]string{"run": "x\n", "tab\tname": "t\n"})
	tree, err := objects.Tree(ctx, r, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]string{}
	for name, e := range tree {
		modes[name] = e.Mode
	}
	if got, want := fmt.Sprintf("%q", modes), `map["a\n\"b":"100644" "dir/link":"120000" "run":"100644" "tab\tname":"100644"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	changes, err := objects.Changes(ctx, r, "HEAD^", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%q %s>%s", c.Path, c.Old.Mode, c.New.Mode))
	}
	if got, want := strings.Join(got, " "), `"gone" 100644> "run" 100755>100644 "tab\tname" >100644`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, name := range []string{"nothing", "--help", "HEAD:run"} {
		if _, err := objects.Tree(ctx, r, name); err == nil {
			t.Errorf("%s has a tree", name)
		}
	}
}

// TestBlobs: in batches, with a limit, and the same one twice.
// TestRemember: the tree of a commit is read once, and that of a name, which may change, each time.
func TestRemember(t *testing.T) {
	r := worktest.New(t)
	r.Commit(t, map[string]string{"a": "1\n"})
	first := strings.TrimSpace(r.Run(t, "rev-parse", "HEAD"))
	counting := &counting{WorkTree: r}
	repo := objects.Remember(counting)
	has := func(commit, name string) bool {
		tree, err := objects.Tree(ctx, repo, commit)
		if err != nil {
			t.Fatal(err)
		}
		return tree[name].Mode != ""
	}
	for range 3 {
		if !has(first, "a") || has("HEAD", "b") {
			t.Fatal("a tree has not what the commit has")
		}
	}
	r.Commit(t, map[string]string{"b": "2\n"})
	if !has("HEAD", "b") || has(first, "b") {
		t.Error("HEAD's tree is that of another commit")
	}
	second := strings.TrimSpace(r.Run(t, "rev-parse", "HEAD"))
	wait := repo.Ahead(ctx, first, second, second)
	if !has(second, "b") {
		t.Error("what is read ahead lacks a file")
	}
	wait()
	if n := counting.n.Load(); n != 6 { // four times HEAD's
		t.Errorf("git ran %d times", n)
	}
	if _, err := objects.Tree(ctx, repo, strings.Repeat("1", len(first))); err == nil {
		t.Error("a commit that does not exist has a tree")
	}
}

type counting struct {
	objects.WorkTree
	n atomic.Int64
}

func (c *counting) Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error) {
	c.n.Add(1)
	return c.WorkTree.Git(ctx, env, stdin, args...)
}

func TestBlobs(t *testing.T) {
	r := worktest.New(t)
	contents := []string{"", "one\n", "no newline", strings.Repeat("large", 5<<20), "one\n", strings.Repeat("large ", 3<<20), "blob 3\n"}
	var ids []string
	for _, c := range contents {
		out, err := r.Git(ctx, nil, strings.NewReader(c), "hash-object", "-w", "--stdin")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, strings.TrimSpace(string(out)))
	}
	seen := map[int]bool{}
	err := objects.Blobs(ctx, r, ids, 20<<20, func(n int, content []byte) error {
		if seen[n] {
			t.Errorf("%d came twice", n)
		}
		seen[n] = true
		if tooLarge := n == 3; tooLarge != (content == nil) || !tooLarge && !bytes.Equal(content, []byte(contents[n])) {
			t.Errorf("%d has %d bytes", n, len(content))
		}
		return nil
	})
	if err != nil || len(seen) != len(ids) {
		t.Errorf("%v %v", seen, err)
	}
	stop := errors.New("stop")
	if err := objects.Blobs(ctx, r, ids, 1<<30, func(int, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := objects.Blobs(ctx, r, []string{ids[0], strings.Repeat("1", 40)}, 1<<30, func(int, []byte) error { return nil }); err == nil {
		t.Error("an object that is missing was read")
	}
}
