package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"banger/api"
)

// fullName is the first argument of the test's process that fills a disk.
const fullName = "banger-test-full-store"

// fullMain returns at once, unless this process was started by TestFullDisk.
func fullMain() {
	if len(os.Args) != 2 || os.Args[0] != fullName {
		return
	}
	if err := fullDisk(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestFullDisk works on a real file system that is full, in namespaces that end with the
// process that made them.
func TestFullDisk(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{fullName, t.TempDir()}
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("NOT TESTED: a full disk, because this host allows no user namespaces: %v", err)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
}

// fill leaves no room on the file system of dir, and returns what gives it back.
func fill(dir string) (free func() error, err error) {
	f, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return nil, fmt.Errorf("filling the disk: %w", err)
	}
	return func() error { return os.Remove(f.Name()) }, nil
}

func fullDisk(dir string) error {
	ctx := context.Background()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	path := filepath.Join(dir, "db")
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	for i := range 50 {
		id := fmt.Sprint("id", i)
		if err := s.AddVM(ctx, vm(id, id, int64(i))); err != nil {
			return err
		}
	}
	if err := s.BeginOperation(ctx, api.Operation{ID: "begun", Kind: "vm.create", Target: "id1", StartedAt: time.Now()}); err != nil {
		return err
	}
	if why := s.Degraded(); why != "" {
		return fmt.Errorf("with room it is degraded: %s", why)
	}
	if err := s.Close(); err != nil {
		return err
	}
	free, err := fill(dir)
	if err != nil {
		return err
	}
	// Without a byte: it opens, and all can be read.
	if s, err = Open(ctx, path); err != nil {
		return fmt.Errorf("opening on a full disk: %w", err)
	}
	all, err := s.VMs(ctx)
	if err != nil || len(all) != 50 {
		return fmt.Errorf("%d VMs, %w", len(all), err)
	}
	left, err := s.UnfinishedOperations(ctx)
	if err != nil || len(left) != 1 || left[0].Attempts != 1 {
		return fmt.Errorf("left: %+v, %w", left, err)
	}
	// What ends something is recorded.
	for i := range 50 {
		v := all[i]
		v.State, v.Reason = api.StateFailed, string(bytes.Repeat([]byte("why "), 200))
		deletion := api.Operation{ID: fmt.Sprint("op", i), Kind: "vm.delete", Target: v.ID, StartedAt: time.Now()}
		err := errors.Join(s.PutVM(ctx, v), s.BeginOperation(ctx, deletion), s.DeleteVM(ctx, v.ID), s.EndOperation(ctx, api.Event{Operation: &deletion}))
		if err != nil {
			return fmt.Errorf("deletion %d: %w", i, err)
		}
		if _, err := fill(dir); err != nil { // somebody else takes all that there is
			return err
		}
	}
	if s.Degraded() == "" {
		return errors.New("it does not say that the disk is full")
	}
	// Killed then, the next one starts, too.
	if err := killed(s, path); err != nil {
		return err
	}
	if s, err = Open(ctx, path); err != nil {
		return fmt.Errorf("opening after a kill: %w", err)
	}
	if all, err := s.VMs(ctx); err != nil || len(all) != 0 {
		return fmt.Errorf("after a kill: %d VMs, %w", len(all), err)
	}
	// With room again all is as before.
	if err := free(); err != nil {
		return err
	}
	s.reserve.tried = time.Time{}
	if err := s.AddVM(ctx, vm("new", "new", 1)); err != nil {
		return err
	}
	if why := s.Degraded(); why != "" {
		return fmt.Errorf("with room again it is degraded: %s", why)
	}
	return s.Close()
}

// killed leaves the store as a daemon leaves it that is killed.
func killed(s *Store, path string) error {
	var kept [2][]byte
	for i, name := range []string{path, path + "-wal"} {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		kept[i] = data
	}
	if err := s.Close(); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, kept[0], 0o600), os.WriteFile(path+"-wal", kept[1], 0o600))
}
