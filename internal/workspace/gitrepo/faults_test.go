package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/host/userns"
)

// TestAFilterThatFails: what is required to work is an error, and leaves no snapshot. Another
// filter that fails leaves the file as it lies, as git itself does.
func TestAFilterThatFails(t *testing.T) {
	dir := newRepo(t)
	git(t, dir, "config", "filter.broken.clean", "echo it is broken >&2; exit 3")
	git(t, dir, "config", "filter.broken.required", "true")
	write(t, dir, ".gitattributes", "*.bin filter=broken\n", "x.bin", "content\n")
	r := open(t, dir)
	_, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	checkError(t, err, api.KindInternal, "x.bin", "")
	checkError(t, err, api.KindInternal, "broken", "")
	if all, err := r.Snapshots(t.Context(), "dev"); err != nil || len(all) != 0 {
		t.Errorf("there is a snapshot: %v (%v)", all, err)
	}
	git(t, dir, "config", "filter.broken.required", "false")
	c, err := r.Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if got := git(t, dir, "cat-file", "blob", c.ID+":x.bin"); got != "content" {
		t.Errorf("the snapshot has %q", got)
	}
}

// TestAFileThatChangesWhileItIsRead: git fails if a file changes or is cut while it reads it; the
// snapshot has one of its states in the end. A filter that fails twice stands for it.
func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	dir := newRepo(t)
	count := filepath.Join(t.TempDir(), "count")
	git(t, dir, "config", "filter.twice.clean", `echo x >> '`+count+`'; test $(wc -l < '`+count+`') -gt 2 && cat`)
	git(t, dir, "config", "filter.twice.required", "true")
	write(t, dir, ".gitattributes", "*.bin filter=twice\n", "x.bin", "content\n")
	c, err := open(t, dir).Snapshot(t.Context(), "dev", "x", Select{})
	must(t, err)
	if got := git(t, dir, "cat-file", "blob", c.ID+":x.bin"); got != "content" {
		t.Errorf("the snapshot has %q", got)
	}
}

// TestAnUnreadableFile is named.
func TestAnUnreadableFile(t *testing.T) {
	dir := newRepo(t)
	write(t, dir, "secret", "x\n")
	must(t, os.Chmod(filepath.Join(dir, "secret"), 0))
	if os.Geteuid() == 0 {
		chownAll(t, dir)
	}
	out := asNobody(t, "snapshot", dir)
	if !strings.HasPrefix(out, "denied: ") || !strings.Contains(out, `"secret" cannot be read`) || !strings.Contains(out, ".gitignore") {
		t.Errorf("it says %s", out)
	}
	out = asNobody(t, "tar", dir)
	if !strings.HasPrefix(out, "denied: ") || !strings.Contains(out, "cannot read secret: permission denied") {
		t.Errorf("it says %s", out)
	}
	must(t, os.Chmod(filepath.Join(dir, "secret"), 0o600))
	if out := asNobody(t, "snapshot", dir); out != "1\n" {
		t.Errorf("it says %s", out)
	}
	// Of a directory git lists nothing, and does not fail.
	for _, name := range []string{"private", "ignored-private"} {
		write(t, dir, name+"/file", "x\n")
		must(t, os.Chmod(filepath.Join(dir, name), 0))
	}
	defer os.Chmod(filepath.Join(dir, "private"), 0o700)
	defer os.Chmod(filepath.Join(dir, "ignored-private"), 0o700)
	if out := asNobody(t, "tar", dir); out != "private is a directory that you may not read: it does not ship\n" {
		t.Errorf("it says %s", out)
	}
}

func chownAll(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(file string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(file, nobody, nobody))
	}))
}

// runRole is what asNobody runs.
func runRole() int {
	ctx := context.Background()
	r, err := Open(ctx, os.Args[1], "")
	if err == nil && os.Getenv(roleEnv) == "snapshot" {
		var c Commit
		if c, err = r.Snapshot(ctx, "dev", "x", Select{}); err == nil {
			fmt.Println(c.N)
		}
	} else if err == nil {
		var files []File
		say := func(name, what string) { fmt.Println(name, what) }
		if files, err = r.Files(ctx, Select{Note: say}); err == nil {
			err = r.WriteTar(ctx, &bytes.Buffer{}, files, TarOptions{})
		}
	}
	if err != nil {
		e := api.AsError(err)
		fmt.Printf("%s: %s; %s\n", e.Kind, e.Message, e.Hint)
	}
	return 0
}

const jobFullDisk = "test-full-disk"

// TestFullDisk: a full disk is said to be full, for objects and for the temporary index, and the
// next snapshot works.
func TestFullDisk(t *testing.T) {
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir()}}); err != nil {
		t.Error(err)
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir := args[0]
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Setenv("HOME", dir)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		return err
	}
	if _, err := tryGit(dir, "init", "-q"); err != nil {
		return err
	}
	noise := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	if err := os.WriteFile(filepath.Join(dir, "noise"), noise, 0o644); err != nil {
		return err
	}
	r, err := Open(ctx, dir, "")
	if err != nil {
		return err
	}
	_, err = r.Snapshot(ctx, "dev", "x", Select{})
	if api.KindOf(err) != api.KindNoSpace || api.AsError(err).Hint == "" {
		return fmt.Errorf("got %v, want an error of kind no_space with a hint", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "noise"), []byte("small"), 0o644); err != nil {
		return err
	}
	c, err := r.Snapshot(ctx, "dev", "x", Select{})
	if err == nil && c.N != 1 {
		err = fmt.Errorf("the number is %d", c.N)
	}
	return err
}
