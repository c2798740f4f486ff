package workspace_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/host/userns"
	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

const jobFullDisk = "test-full-disk"

// TestFullDisks: the disk of the repository, or that of banger's records, is full while files are
// sent, looked at, applied, taken back or synced. Each fails as what it is, nothing is lost, and
// once there is room the same command succeeds.
func TestFullDisks(t *testing.T) {
	for _, which := range []string{"repository", "records"} {
		t.Run(which, func(t *testing.T) {
			err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{which, t.TempDir()}})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// disk is a small one, with a work tree or the records on it.
type disk struct {
	mount, top string
	guest      *dirGuest
	w          *workspace.Workspace
}

// runFullDisk is TestFullDisks in a mount namespace of its own.
func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Setenv("HOME", args[1])
	d := disk{mount: filepath.Join(args[1], "disk"), top: filepath.Join(args[1], "top"), guest: &dirGuest{root: filepath.Join(args[1], "guest")}}
	states := filepath.Join(args[1], "states")
	if args[0] == "repository" {
		d.top = filepath.Join(d.mount, "top")
	} else {
		states = filepath.Join(d.mount, "states")
	}
	err := os.Mkdir(d.mount, 0o755)
	if err == nil {
		err = syscall.Mount("tmpfs", d.mount, "tmpfs", 0, "size=8m")
	}
	for _, dir := range []string{d.top, states, d.guest.root} {
		err = errors.Join(err, os.MkdirAll(dir, 0o755))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(d.top, "one"), []byte("1\n"), 0o644), command(d.top, "init", "-q").Run())
	if err == nil {
		d.w, err = workspace.Open(ctx, d.top, states)
	}
	if err != nil {
		return err
	}
	return d.tries(ctx)
}

// tries tries each step on the full disk, and then with room.
func (d disk) tries(ctx context.Context) error {
	guestOne := filepath.Join(d.guest.root, directory, "one")
	for _, step := range []struct {
		name   string
		change func() error
		do     func(s workspace.Shipment) error
	}{
		{"ship", nil, func(workspace.Shipment) error {
			_, err := d.w.Ship(ctx, d.guest, workspace.Cargo{VM: vm, Directory: directory})
			return err
		}},
		{"collect", func() error { return os.WriteFile(guestOne, []byte(strings.Repeat("guest\n", 2000)), 0o644) }, func(s workspace.Shipment) error {
			_, err := d.w.Collect(ctx, d.guest, s)
			return err
		}},
		{"apply", nil, func(s workspace.Shipment) error {
			_, err := d.w.Apply(ctx, s, d.w.Newest(s), false)
			return err
		}},
		{"undo", nil, func(workspace.Shipment) error { _, err := d.w.Undo(ctx, vm.ID); return err }},
		{"sync", func() error { return os.WriteFile(filepath.Join(d.top, "host"), []byte("host\n"), 0o644) }, func(s workspace.Shipment) error {
			_, err := d.w.Sync(ctx, d.guest, s, workspace.SyncRequest{})
			return err
		}},
	} {
		if step.change != nil {
			if err := step.change(); err != nil {
				return err
			}
		}
		if err := d.try(step.name, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(d.top, "one"))
	if err == nil && !strings.HasPrefix(string(data), "guest\n") {
		err = fmt.Errorf("at the end there is %.20q", data)
	}
	return err
}

// try does a step with less and less of the disk taken, until it succeeds.
func (d disk) try(name string, do func(workspace.Shipment) error) error {
	t := &testing.T{}
	before, guest := worktest.Files(t, d.top, ".git"), worktest.Files(t, d.guest.root, ".git")
	filler, failed := filepath.Join(d.mount, "filler"), 0
	if err := fill(filler); err != nil {
		return err
	}
	defer os.Remove(filler)
	for {
		s, _, err := d.w.Shipment(vm.ID)
		if err != nil {
			return err
		}
		if err = do(s); err == nil {
			break
		}
		failed++
		if api.KindOf(err) != api.KindNoSpace {
			return fmt.Errorf("attempt %d says %s: %w", failed, api.KindOf(err), err)
		}
		if name != "ship" && name != "sync" && !maps.Equal(worktest.Files(t, d.guest.root, ".git"), guest) {
			return fmt.Errorf("attempt %d has changed the guest's files: %w", failed, err)
		}
		if (name == "ship" || name == "collect") && !maps.Equal(worktest.Files(t, d.top, ".git"), before) {
			return fmt.Errorf("attempt %d has changed the files here: %w", failed, err)
		}
		info, err := os.Stat(filler)
		if err == nil && info.Size() == 0 {
			return errors.New("it fails on an empty disk")
		}
		if err == nil {
			err = os.Truncate(filler, max(0, info.Size()-8<<10))
		}
		if err != nil {
			return err
		}
	}
	if failed == 0 {
		return errors.New("the full disk is not noticed")
	}
	return nil
}

// fill fills a disk with a file.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for piece := make([]byte, 4096); err == nil; {
		_, err = f.Write(piece)
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return err
}
