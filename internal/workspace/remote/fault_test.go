package remote

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/host/userns"
)

func shell(t testing.TB, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// TestMakeKilled: git ends with a program that is killed, and the next one begins again.
func TestMakeKilled(t *testing.T) {
	dir := newRepo(t)
	stalled, open := make(chan struct{}, 1), make(chan struct{})
	url := serve(t, filepath.Dir(dir), func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "git-upload-pack") { // the references come, and no object
			return false
		}
		select {
		case <-open:
			return false
		case stalled <- struct{}{}:
		default:
		}
		select {
		case <-open:
			return false
		case <-r.Context().Done(): // the client is gone
			return true
		}
	})
	clone := filepath.Join(t.TempDir(), "w", "clone")
	self := exec.Command(os.Args[0], clone)
	self.Env = append(os.Environ(), slowEnv+"="+url+"/project/.git")
	must(t, self.Start())
	<-stalled
	must(t, self.Process.Kill())
	_ = self.Wait() // it was killed
	left, err := os.ReadDir(filepath.Dir(clone))
	if err != nil || len(left) != 1 {
		t.Fatalf("%v is left of it (%v): the test is not at the right moment", left, err)
	}
	within(t, "git ends, too", func() bool { return !running(filepath.Dir(clone) + "/" + unfinished) })
	close(open)
	must(t, Make(t.Context(), parsed(t, url+"/project/.git"), clone, 0))
	if left, _ := os.ReadDir(filepath.Dir(clone)); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
}

// running reports whether any program has a word in its arguments.
func running(word string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), word) {
			return true
		}
	}
	return false
}

const jobFullDisk = "test-full-disk"

// TestMakeOnAFullDisk says so, leaves nothing, and works when there is space.
func TestMakeOnAFullDisk(t *testing.T) {
	dir := newRepo(t)
	shell(t, dir, "head -c 3000000 /dev/urandom > noise && git add noise && git -c user.name=u -c user.email=u@example.org commit -qm noise")
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir(), dir}}); err != nil {
		t.Error(err)
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir, from := args[0], args[1]
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Setenv("HOME", dir)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		return err
	}
	// The namespace's root is another user than the repository's.
	if err := os.WriteFile(filepath.Join(dir, ".gitconfig"), []byte("[safe]\n\tdirectory = *\n"), 0o644); err != nil {
		return err
	}
	r, err := Parse(from, "/")
	if err != nil {
		return err
	}
	clone := filepath.Join(dir, "w", "clone")
	err = Make(ctx, r, clone, 1)
	if api.KindOf(err) != api.KindNoSpace || api.AsError(err).Hint == "" {
		return fmt.Errorf("got %v, want an error of kind no_space with a hint", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(clone)); len(left) > 0 {
		return fmt.Errorf("%v is left", left)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=20m"); err != nil {
		return err
	}
	return Make(ctx, r, clone, 1)
}
