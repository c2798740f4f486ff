package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/daemonstart"
	"banger/internal/paths"
	"banger/test/harness"
)

// The measured VMs: the smallest that boots, from an image with only busybox.
const (
	imageName   = "bench-busybox"
	guestMemory = 128 << 20
	guestDisk   = 256 << 20
)

// cleanTime bounds the clean-up at the end, which an interrupt does not stop.
const cleanTime = time.Minute

// bench is one run.
type bench struct {
	root     string // of the repository
	home     string // BANGER_HOME of this run
	paths    paths.Paths
	client   *client.Client
	rounds   int
	deadline time.Time

	images   string // the state of the image cache with the first VM
	template api.VM // made first, never changed: the bare machines copy its disk
	bare     bareSpec

	machine machineLine
	report  report
}

// open sets up a separate home, kept between runs for its kernel and image.
func open(ctx context.Context, root string) (*bench, error) {
	home := filepath.Join(root, ".cache", "bench-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"BANGER_HOME": home,
		"BANGERD":     filepath.Join(root, "bin", "bangerd"),
	} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	p, err := paths.User()
	if err != nil {
		return nil, err
	}
	b := &bench{root: root, home: home, paths: p, client: daemonstart.Client(p)}
	// The leftovers of a killed run, including its daemon, which may be of an older
	// build.
	if err := b.clean(ctx); err != nil {
		return nil, err
	}
	b.machine.before()
	return b, nil
}

// close stops all processes, however the run ended.
func (b *bench) close() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTime)
	defer cancel()
	if err := b.clean(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench: cannot clean up:", err)
	}
}

func (b *bench) clean(ctx context.Context) error {
	all, err := b.client.VMs().List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, vm := range all {
		if err := b.client.VMs().Delete(ctx, vm.ID, true, nil); err != nil && api.KindOf(err) != api.KindNotFound {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, daemonstart.StopAndWait(ctx, b.paths), os.RemoveAll(b.bareDir()))...)
}

// prepare gets the kernel, imports the image and makes the template.
func (b *bench) prepare(ctx context.Context) error {
	say := func(p api.Progress) {
		if p.Message != "" && p.Done == 0 {
			fmt.Fprintln(os.Stderr, "  "+p.Message)
		}
	}
	if _, err := b.client.Kernels().Show(ctx, "default"); api.KindOf(err) == api.KindNotFound {
		if _, err := b.client.Kernels().Pull(ctx, api.PullKernel{}, say); err != nil {
			return err
		}
	}
	if _, err := b.client.Images().Show(ctx, imageName); api.KindOf(err) == api.KindNotFound {
		tar := filepath.Join(b.home, "busybox.tar")
		if err := harness.BusyboxTar(tar); err != nil {
			return err
		}
		if _, err := b.client.Images().Import(ctx, api.ImportImage{Path: tar, Name: imageName}, say); err != nil {
			return err
		}
	}
	var err error
	if b.template, err = b.client.VMs().Create(ctx, b.request("template", false), nil); err != nil {
		return err
	}
	b.images = fingerprint(b.paths.Images())
	return b.learn(ctx)
}

// fingerprint describes all files below dir, including the times of their last changes.
func fingerprint(dir string) string {
	var text strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&text, path, err)
			return nil
		}
		if info, err := d.Info(); err == nil && !d.IsDir() { // a probe's file is temporary
			fmt.Fprintln(&text, path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return text.String()
}

// learn starts a VM to find out how banger starts QEMU.
func (b *bench) learn(ctx context.Context) error {
	vm, err := b.client.VMs().Create(ctx, b.request("learned", true), nil)
	if err != nil {
		return err
	}
	if b.bare, err = b.bareLike(vm); err != nil {
		return err
	}
	if err := b.machine.learn(ctx, b, vm); err != nil {
		return err
	}
	return b.client.VMs().Delete(ctx, vm.ID, true, nil)
}

func (b *bench) request(name string, start bool) api.CreateVM {
	return api.CreateVM{
		Name: name, Image: imageName, VCPUs: 1, MemoryBytes: guestMemory, DiskBytes: guestDisk, Start: start,
	}
}

// cli returns a run of the real command.
func (b *bench) cli(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(b.root, "bin", "banger"), args...)
}

// enough reports whether a part of the run that started at start and may take up to
// limit has to end.
func (b *bench) enough(start time.Time, limit time.Duration) bool {
	now := time.Now()
	return now.Sub(start) > limit || now.After(b.deadline)
}
