package treewatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fewWatches is the variable that makes the test program the one with few watches. Its value is the
// directory that it watches.
const fewWatches = "TREEWATCH_TEST_FEW"

// TestFewWatches: if not all directories can be watched, that is said, and it ends when they can. It
// needs a user namespace, which has limits of its own.
func TestFewWatches(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fewWatches+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skip("NOT RUN: few watches: this host does not let its users make user namespaces")
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// limit sets a limit of this user namespace (namespaces(7), /proc/sys/user).
func limit(name string, n int) error {
	return os.WriteFile("/proc/sys/user/"+name, []byte(fmt.Sprint(n)), 0)
}

func runFewWatches(dir string) error {
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "a/b/c/d/e"), 0o755), limit("max_inotify_watches", 3)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	enough := errors.New("enough")
	step := 0
	err := Watch(ctx, dir, Options{}, func(e Event) error {
		few := e.All && strings.HasPrefix(e.Reason, "the limit fs.inotify.max_user_watches, ")
		step++
		switch {
		case step == 1 && e.Ready && few, step == 2 && few && strings.Join(e.Dirs, " ") == "a":
			return os.WriteFile(filepath.Join(dir, "a", fmt.Sprint(step)), nil, 0o600)
		case step == 3 && few:
			return errors.Join(limit("max_inotify_watches", 100), os.WriteFile(filepath.Join(dir, "a/3"), nil, 0o600))
		case step == 4 && e.All && e.Reason == "":
			return os.WriteFile(filepath.Join(dir, "a/b/c/d/e/file"), nil, 0o600)
		case step == 5 && !e.All && strings.Join(e.Dirs, " ") == "a/b/c/d/e":
			return enough
		}
		return fmt.Errorf("event %d is %+v", step, e)
	})
	if !errors.Is(err, enough) {
		return err
	}
	return withoutInotify(dir)
}

// withoutInotify: if nothing at all can be watched, that is said, too.
func withoutInotify(dir string) error {
	if err := limit("max_inotify_instances", 0); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	count := 0
	err := Watch(ctx, dir, Options{}, func(e Event) error {
		count++
		if !e.Ready || !e.All || !strings.HasPrefix(e.Reason, "the limit fs.inotify.max_user_instances, ") {
			return fmt.Errorf("%+v", e)
		}
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) || count != 1 {
		return fmt.Errorf("%d events, %w", count, err)
	}
	return nil
}
