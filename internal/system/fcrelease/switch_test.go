package fcrelease

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/system/fcrelease/fctest"
	"banger/internal/update/repotest"
)

// TestMain is also the program that is killed, and the one whose disk is full.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("FCRELEASE_DIR") != "":
		s := newStore(os.Getenv("FCRELEASE_DIR"), "")
		if _, err := s.Get(context.Background(), Want{File: os.Getenv("FCRELEASE_FILE")}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	case os.Getenv("FCRELEASE_FULL") != "":
		if err := fullDisk(os.Getenv("FCRELEASE_FULL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestRollback(t *testing.T) {
	fx := newFixture(t)
	if _, err := fx.Back(true); api.KindOf(err) != api.KindNotFound {
		t.Errorf("there is nothing: %v", err)
	}
	fx.with("1.15.1")
	before := tree(t, fx.Dir)
	if _, err := fx.Back(false); api.KindOf(err) != api.KindNotFound || tree(t, fx.Dir) != before {
		t.Errorf("there is nothing else: %v", err)
	}
	fx.with("1.16.0", "1.16.1")
	for i, want := range []string{"1.16.0", "1.16.1", "1.16.0"} {
		r, err := fx.Back(true)
		if err != nil || r.Version != want || fx.used() != want {
			t.Fatalf("rollback %d: %+v, %v, used is %s", i, r, err, fx.used())
		}
	}
	if asked := fx.page.Asked(); len(asked) > 0 {
		t.Error("it asked for", asked)
	}
	// A version that is not as it was got is not gone back to.
	check(t, os.WriteFile(fx.Program("1.16.1", "firecracker"), []byte("damaged"), 0o755))
	before = tree(t, fx.Dir)
	if _, err := fx.Back(true); api.KindOf(err) != api.KindConflict || !strings.Contains(api.AsError(err).Hint, "--version 1.16.1") || tree(t, fx.Dir) != before {
		t.Errorf("%v", err)
	}
}

// TestRollbackToAnother: before the first version that was got, a Firecracker was used
// that somebody had installed by hand.
func TestRollbackToAnother(t *testing.T) {
	fx := newFixture(t).with("1.16.1")
	r, err := fx.Back(true)
	if err != nil || r.Version != "" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Lstat(fx.path(currentLink)); !errors.Is(err, os.ErrNotExist) {
		t.Error("it is used still:", err)
	}
	fx.with("1.16.1") // what is there is taken again
	if fx.used() != "1.16.1" {
		t.Error(fx.used())
	}
}

// TestStrangeLink: a link that somebody else made is not obeyed.
func TestStrangeLink(t *testing.T) {
	fx := newFixture(t).with("1.16.1")
	for _, target := range []string{"/usr/local/bin", "versions/../..", "versions/x"} {
		check(t, os.Remove(fx.path(currentLink)))
		check(t, os.Symlink(target, fx.path(currentLink)))
		if _, _, err := fx.Current(); api.KindOf(err) != api.KindConflict {
			t.Errorf("%s: %v", target, err)
		}
		if _, err := fx.Get(t.Context(), Want{}); api.KindOf(err) != api.KindConflict {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestPrune(t *testing.T) {
	fx := newFixture(t).with("1.14.4", "1.15.0", "1.15.1", "1.16.0", "1.16.1")
	none := func(map[int64]bool) (map[string]bool, error) { return nil, nil }
	before := fx.versions()
	// If nobody can tell what runs, nothing is removed.
	if left, err := fx.Prune(func(map[int64]bool) (map[string]bool, error) { return nil, errors.New("no answer") }); err == nil || len(left) != 3 || fx.versions() != before {
		t.Errorf("%v, %v: %s", left, err, fx.versions())
	}
	// A VM has a copy of the program in its jail: its content counts.
	info, err := os.Stat(fx.Program("1.15.0", "firecracker"))
	check(t, err)
	sum, err := digestOf(fx.Program("1.15.0", "firecracker"))
	check(t, err)
	kept, err := fx.Prune(func(sizes map[int64]bool) (map[string]bool, error) {
		if !sizes[info.Size()] {
			t.Errorf("it asks for programs of %v bytes, and not of %d", sizes, info.Size())
		}
		return map[string]bool{sum: true}, nil
	})
	if err != nil || len(kept) != 1 || kept[0] != "1.15.0" || fx.versions() != "1.15.0 1.16.0 1.16.1" {
		t.Errorf("%v, %v: %s", kept, err, fx.versions())
	}
	if kept, err := fx.Prune(none); err != nil || len(kept) > 0 || fx.versions() != "1.16.0 1.16.1" {
		t.Errorf("%v, %v: %s", kept, err, fx.versions())
	}
	if _, err := fx.Prune(func(map[int64]bool) (map[string]bool, error) { t.Error("it asks for nothing"); return nil, nil }); err != nil {
		t.Error(err)
	}
	if r, err := fx.Back(false); err != nil || r.Version != "1.16.0" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestKilled: kill -9 at any moment leaves the version that was used, and what the
// next run removes.
func TestKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), fctest.Name("1.16.1"))
	check(t, os.WriteFile(file, fctest.Archive("1.16.1"), 0o644))
	for point, used := range map[string]string{"obtained": "1.16.0", "unpacked": "1.16.0", "installed": "1.16.0", "switch": "1.16.0", "switched": "1.16.1"} {
		t.Run(point, func(t *testing.T) {
			fx := newFixture(t).with("1.15.1", "1.16.0")
			fault := filepath.Join(t.TempDir(), "fault")
			check(t, os.WriteFile(fault, []byte("firecracker "+point), 0o600))
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "FCRELEASE_DIR="+fx.Dir, "FCRELEASE_FILE="+file, faultpoint.Env+"="+fault)
			out, _ := cmd.CombinedOutput()
			if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
				t.Fatalf("it was not killed: %v\n%s", s, out)
			}
			if fx.used() != used {
				t.Errorf("used is %s, and not %s", fx.used(), used)
			}
			r, err := fx.Get(t.Context(), Want{File: file})
			if err != nil || fx.used() != "1.16.1" || r.Previous != "1.16.0" {
				t.Errorf("the next run: %+v, %v", r, err)
			}
			if stages, _ := filepath.Glob(fx.path(stagePrefix + "*")); len(stages) > 0 {
				t.Error("left:", stages)
			}
			if r, err := fx.Back(false); err != nil || r.Version != "1.16.0" {
				t.Errorf("rollback: %+v, %v", r, err)
			}
		})
	}
}

// TestCancelled: Ctrl-C in the middle of a download.
func TestCancelled(t *testing.T) {
	fx := newFixture(t).with("1.16.0")
	fx.page.Publish("1.16.1")
	fx.page.Handler.Misbehave(tgz, repotest.StallAfter([]byte("x")))
	before := tree(t, fx.Dir)
	ctx, cancel := context.WithCancel(t.Context())
	fx.Progress = func(string, int64, int64) { time.AfterFunc(50*time.Millisecond, cancel) }
	if _, err := fx.Get(ctx, Want{}); api.KindOf(err) != api.KindCanceled {
		t.Errorf("%v (%s)", err, api.KindOf(err))
	}
	if after := tree(t, fx.Dir); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	// And when the archive is there.
	fx.page.Handler.Behave()
	for _, step := range []string{"unpacking", "testing"} {
		ctx, cancel := context.WithCancel(t.Context())
		fx.Step = func(what string) {
			if strings.HasPrefix(what, step) {
				cancel()
			}
		}
		if _, err := fx.Get(ctx, Want{}); api.KindOf(err) != api.KindCanceled {
			t.Errorf("%s: %v (%s)", step, err, api.KindOf(err))
		}
		if after := tree(t, fx.Dir); after != before {
			t.Errorf("%s: it was\n%s\nand is\n%s", step, before, after)
		}
	}
}

// TestFullDisk gets releases on a file system of 40 MiB, in namespaces of its own.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root can mount a full disk below directories that are root's alone")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FCRELEASE_FULL="+openDir(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func fullDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m"); err != nil {
		return err
	}
	page := fctest.Serve()
	defer page.Close()
	page.Publish("1.16.1")
	s := newStore(filepath.Join(dir, "firecracker"), page.URL())
	s.Client = clientOf(page, 10*time.Second)
	large := make([]byte, 64<<20)
	whole := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(large)))
		_, _ = w.Write(large)
	}
	for name, c := range map[string]struct {
		do   http.HandlerFunc
		want string
	}{
		"as it says before": {whole, "needs 96 MiB, but has"},
		"as it turns out":   {repotest.Endless(large[:1<<20]), "no space left on device"},
	} {
		page.Handler.Misbehave(tgz, c.do)
		_, err := s.Get(context.Background(), Want{})
		if api.KindOf(err) != api.KindNoSpace || !strings.Contains(err.Error(), c.want) {
			return fmt.Errorf("%s: %v (%s)", name, err, api.KindOf(err))
		}
		entries, err := os.ReadDir(s.Dir)
		if err != nil || len(entries) != 1 || entries[0].Name() != versionsDir {
			return fmt.Errorf("%s: it left %v, %v", name, entries, err)
		}
	}
	return nil
}
