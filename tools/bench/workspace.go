package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/workspace"
	"banger/internal/workspace/gitrepo"
)

// The repository that is sent: the numbers are those of the issue that asked for the speeds.
const (
	treeFiles  = 10000
	treeBytes  = 100 << 20
	dirtyFiles = 250
	workFiles  = 50 // that the guest has changed

	shipRounds = 3
	workLimit  = 3 * time.Minute
)

// treeDisk is the size of the VM's disk: two copies of the repository at a time.
const treeDisk = 1 << 30

// workspace measures a repository's way into a VM and back.
func (b *bench) workspace(ctx context.Context) (err error) {
	tree, err := os.MkdirTemp(b.home, "tree-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tree)) }()
	if err := makeTree(ctx, tree); err != nil {
		return err
	}
	w, err := workspace.Open(ctx, tree, b.paths.Workspaces())
	if err != nil {
		return err
	}
	request := b.request("workspace", true)
	request.DiskBytes, request.Labels = treeDisk, map[string]string{workspace.Label: w.Label()}
	vm, err := b.client.VMs().Create(ctx, request, nil)
	if err != nil {
		return err
	}
	began := time.Now()
	for round := range shipRounds {
		if b.enough(began, workLimit) {
			b.report.note("the repository was sent %d times, not %d", round, shipRounds)
			break
		}
		if err := b.ships(ctx, w, vm, round); err != nil {
			return err
		}
	}
	for _, do := range []func(context.Context, *bench, *workspace.Workspace, api.VM) error{snapshots, unchanged, guestChanges, liveEdits} {
		if err := do(ctx, b, w, vm); err != nil {
			return err
		}
	}
	return b.client.VMs().Delete(ctx, vm.ID, true, nil)
}

// makeTree makes a repository of which everything is committed. Its contents cannot be compressed.
func makeTree(ctx context.Context, tree string) error {
	content := make([]byte, treeBytes/treeFiles)
	random := rand.NewChaCha8([32]byte{})
	for n := range treeFiles {
		dir := filepath.Join(tree, fmt.Sprintf("dir%02d", n%100))
		_, _ = random.Read(content)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(treeFile(tree, n), content, 0o644)); err != nil {
			return err
		}
	}
	err := os.WriteFile(filepath.Join(tree, "banger.toml"), []byte("setup = []\n"), 0o644)
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-qm", "all"}} {
		if err == nil {
			err = runTree(ctx, tree, "git", args...)
		}
	}
	return err
}

func treeFile(tree string, n int) string {
	return filepath.Join(tree, fmt.Sprintf("dir%02d", n%100), "file"+strconv.Itoa(n))
}

// runTree runs a command in the repository, and returns what it printed if it fails.
func runTree(ctx context.Context, tree, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// timed adds the time of a command in the repository.
func (b *bench) timed(ctx context.Context, sample, tree string, args ...string) error {
	began := time.Now()
	err := runTree(ctx, tree, filepath.Join(b.root, "bin", "banger"), args...)
	b.report.add(sample, time.Since(began))
	return err
}

// ships sends the repository, and the same files by tar through a session.
func (b *bench) ships(ctx context.Context, w *workspace.Workspace, vm api.VM, round int) error {
	dir := "/workspaces/tree" + strconv.Itoa(round)
	began := time.Now()
	_, err := w.Ship(ctx, b.client.Guest(vm.ID), workspace.Cargo{VM: vm, Directory: dir})
	if err != nil {
		return err
	}
	b.report.add("work.ship", time.Since(began))
	tar := fmt.Sprintf(`tar --exclude=./.git -cf - . | %s vm exec %s -- sh -c 'mkdir /tar && tar -xf - -C /tar && sync'`, filepath.Join(b.root, "bin", "banger"), vm.Name)
	began = time.Now()
	if err := runTree(ctx, w.Repo.Top(), "sh", "-c", tar); err != nil {
		return err
	}
	b.report.add("work.tar", time.Since(began))
	former := "/workspaces/tree" + strconv.Itoa(round-1)
	return runScript(ctx, b, vm, "rm -rf /tar "+former+"; sync")
}

// runScript runs a shell script in a guest.
func runScript(ctx context.Context, b *bench, vm api.VM, script string) error {
	return runIn(ctx, agentOf(b.client, vm.ID), "sh", "-c", script)
}

// snapshots measures a commit of the work tree with changes.
func snapshots(ctx context.Context, b *bench, w *workspace.Workspace, _ api.VM) error {
	for round := range b.rounds {
		for n := range dirtyFiles {
			if err := os.WriteFile(treeFile(w.Repo.Top(), n), fmt.Appendf(nil, "round %d", round), 0o644); err != nil {
				return err
			}
		}
		began := time.Now()
		if _, err := w.Repo.Snapshot(ctx, "bench", "bench", gitrepo.Select{}); err != nil {
			return err
		}
		b.report.add("work.snapshot", time.Since(began))
	}
	return runTree(ctx, w.Repo.Top(), "git", "checkout", "-q", ".")
}

// unchanged measures the commands if there is nothing to do.
func unchanged(ctx context.Context, b *bench, w *workspace.Workspace, vm api.VM) error {
	for range b.rounds {
		err := b.timed(ctx, "work.again", w.Repo.Top(), "up", "-q", "--", "true")
		if err == nil {
			err = b.timed(ctx, "work.exec", w.Repo.Top(), "vm", "exec", vm.Name, "--", "true")
		}
		if err == nil {
			err = b.timed(ctx, "work.status", w.Repo.Top(), "work", "status")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// guestChanges measures what a guest's changes take to be seen, and seen again.
func guestChanges(ctx context.Context, b *bench, w *workspace.Workspace, vm api.VM) error {
	shipment, _, err := w.Shipment(vm.ID)
	if err != nil {
		return err
	}
	for round := range b.rounds {
		script := fmt.Sprintf("cd %s && for n in $(seq 0 %d); do echo %d > dir$(printf %%02d $((n %% 100)))/file$n; done", shipment.Directory, workFiles-1, round)
		if err := runScript(ctx, b, vm, script); err != nil {
			return err
		}
		if err := b.timed(ctx, "work.diff", w.Repo.Top(), "work", "diff", "--stat"); err != nil {
			return err
		}
	}
	return nil
}

// liveEdits measures how long one edit takes to be on the other side while both are synced.
func liveEdits(ctx context.Context, b *bench, w *workspace.Workspace, vm api.VM) (err error) {
	shipment, _, err := w.Shipment(vm.ID)
	if err != nil {
		return err
	}
	if err := b.timed(ctx, "work.sync-first", w.Repo.Top(), "sync"); err != nil {
		return err
	}
	for range b.rounds {
		// The guest's part of a sync, and of all that compares the files of a guest.
		began := time.Now()
		err := b.client.Guest(vm.ID).Tree(ctx, shipment.Directory, client.TreeOptions{Skip: []string{".git"}}, func(client.TreeEntry) error { return nil })
		if err != nil {
			return err
		}
		b.report.add("work.list", time.Since(began))
		if err := b.timed(ctx, "work.sync-nothing", w.Repo.Top(), "sync"); err != nil {
			return err
		}
	}
	watch := b.cli(ctx, "sync", "--watch")
	watch.Dir = w.Repo.Top()
	if err := watch.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.Process.Signal(os.Interrupt), watch.Wait()) }()
	for round := range b.rounds + 1 { // in the first, both sides begin to be watched
		name := "live" + strconv.Itoa(round)
		began := time.Now()
		if err := os.WriteFile(filepath.Join(w.Repo.Top(), name), nil, 0o644); err != nil {
			return err
		}
		if err := runScript(ctx, b, vm, "until test -e "+shipment.Directory+"/"+name+"; do usleep 5000; done"); err != nil {
			return err
		}
		there := time.Since(began)
		name = "back" + strconv.Itoa(round)
		if err := runScript(ctx, b, vm, "echo > "+shipment.Directory+"/"+name); err != nil {
			return err
		}
		began = time.Now()
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(w.Repo.Top(), name)); err == nil {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
		if round > 0 {
			b.report.add("work.to-guest", there)
			b.report.add("work.to-host", time.Since(began))
		}
	}
	return ctx.Err()
}
