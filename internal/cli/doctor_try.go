package cli

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/doctor"
	"banger/internal/paths"
)

// A trial starts an empty image: the agent needs nothing from an image, and importing
// an empty one needs no network.
const (
	trialPrefix = "doctor-try-"
	trialMemory = 256 << 20
	trialDisk   = 64 << 20

	// trialSpare is the time that a trial may take in addition to the boot of its guest.
	trialSpare = 2 * time.Minute
	// defaultKernel is the name of the kernel of VMs that request none.
	defaultKernel = "default"
)

// trial is the start of a guest that proves whether guests start.
type trial struct {
	Started bool `json:"started"`
	// Step is the step that failed: daemon, kernel, image, a step of the start (disk,
	// attach, network, vmm, agent), answer, or removal.
	Step   string           `json:"failed_at,omitempty"`
	Error  *api.Error       `json:"error,omitempty"`
	Driver string           `json:"driver,omitempty"`
	Accel  string           `json:"accel,omitempty"`
	Took   float64          `json:"seconds"`
	Timing []api.StepTiming `json:"timing,omitempty"`

	client  *client.Client
	managed bool
	name    string // of its VM and its image
	report  api.Report
}

// tryStart starts a guest as any VM is created, asks for its health, and removes everything
// again, even if ctx ends.
func (d *examination) tryStart(ctx context.Context) *trial {
	t := &trial{name: trialName()}
	began := time.Now()
	defer func() { t.Took = float64(time.Since(began).Milliseconds()) / 1000 }()
	where, err := paths.Choose()
	if err != nil {
		return t.failed("daemon", err)
	}
	t.managed = where.Managed
	if t.client, err = d.a.client(); err != nil {
		return t.failed("daemon", err)
	}
	shown, _, err := d.a.settings(ctx, t.client, "", "")
	if err != nil {
		return t.failed("settings", err)
	}
	boot, err := time.ParseDuration(valueOf(shown, "boot_timeout"))
	if err != nil {
		return t.failed("settings", err)
	}
	limit := boot + trialSpare
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took more than %s", limit))
	defer cancel()
	p := d.a.std.newProgress()
	defer p.done()
	t.report = p.report
	k, err := t.client.Kernels().Show(ctx, cmp.Or(valueOf(shown, "kernel"), defaultKernel))
	switch {
	case api.KindOf(err) == api.KindNotFound:
		return t.failed("kernel", api.Errorf(api.KindNotFound, "no kernel to start a guest with").WithHint("banger kernel pull"))
	case err != nil:
		return t.failed("daemon", err)
	}
	t.removeOlder(ctx, limit)
	t.run(ctx, k)
	return t
}

// removeOlder removes the images of trials that were killed; the daemon removes their VMs
// when no client holds them. Trials that may still run are younger than limit.
func (t *trial) removeOlder(ctx context.Context, limit time.Duration) {
	images, err := t.client.Images().List(ctx)
	if err != nil {
		return // the trial itself will report it
	}
	for _, i := range images {
		for _, name := range i.Names {
			if strings.HasPrefix(name, trialPrefix) && len(i.UsedBy) == 0 && time.Since(i.CreatedAt) > limit {
				_ = t.client.Images().Delete(ctx, name) // the next trial tries again
			}
		}
	}
}

// run imports an empty image, starts a VM of it, and removes both.
func (t *trial) run(ctx context.Context, k api.Kernel) {
	image, err := t.makeImage(ctx)
	if err != nil {
		t.failed("image", err)
	} else {
		t.start(ctx, k, image)
	}
	removeErr := t.remove(context.WithoutCancel(ctx))
	switch stopped := context.Cause(ctx); {
	case removeErr != nil && t.Error != nil:
		t.Error = api.Errorf(t.Error.Kind, "%s; %w", t.Error.Message, removeErr)
	case removeErr != nil:
		t.failed("removal", removeErr)
	case stopped != nil && t.Error != nil:
		t.Error = api.Errorf(api.KindCanceled, "cancelled, %s: %w", nothingLeft, stopped)
	}
	t.Started = t.Error == nil
}

func (t *trial) start(ctx context.Context, k api.Kernel, image api.Image) {
	const mib = 1 << 20
	vm, err := t.client.VMs().Create(ctx, api.CreateVM{
		Name: t.name, Image: t.name, Kernel: k.Digest, VCPUs: 1, MemoryBytes: trialMemory,
		DiskBytes: max(trialDisk, (image.DiskBytes+mib-1)/mib*mib), Init: api.InitAgent, Start: true, AutoRemove: true, Lease: true,
	}, t.report)
	if err != nil {
		t.failed(t.failedStep(context.WithoutCancel(ctx), err), err)
		return
	}
	t.Driver, t.Accel, t.Timing = vm.Driver, vm.Accel, vm.Timing
	if _, err := t.client.Guest(vm.ID).Health(ctx); err != nil {
		t.failed("answer", err)
	}
}

// failedStep asks the daemon which step of a start failed with err.
func (t *trial) failedStep(ctx context.Context, err error) string {
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	operations, listErr := t.client.Operations().List(ctx)
	if listErr != nil {
		return "start"
	}
	message := api.AsError(err).Message
	for _, o := range operations {
		if o.Status == api.OpFailed && o.Error != nil && (o.Error.Message == message || strings.Contains(o.Error.Message, t.name)) {
			return o.Step
		}
	}
	return "request" // it was refused before anything began
}

// makeImage imports a file system with nothing in it.
func (t *trial) makeImage(ctx context.Context) (api.Image, error) {
	dir, err := os.MkdirTemp("", t.name)
	if err != nil {
		return api.Image{}, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "empty.tar")
	// The daemon reads it, possibly as another user than root, who is asking.
	if err := errors.Join(os.Chmod(dir, 0o755), writeEmpty(path), os.Chmod(path, 0o644)); err != nil {
		return api.Image{}, err
	}
	silent := func(api.Progress) {} // no warning that it has no shell
	return t.client.Images().Import(ctx, api.ImportImage{Path: path, Name: t.name}, silent)
}

// writeEmpty writes a tar archive of an empty directory.
func writeEmpty(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "root/", Mode: 0o700})
	return errors.Join(err, w.Close(), f.Close())
}

// remove removes the VM and the image, as far as they exist.
func (t *trial) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	err := t.client.VMs().Delete(ctx, t.name, true, nil)
	if api.KindOf(err) == api.KindNotFound {
		err = nil
	}
	imageErr := t.client.Images().Delete(ctx, t.name)
	if api.KindOf(imageErr) == api.KindNotFound {
		imageErr = nil
	}
	if err := errors.Join(err, imageErr); err != nil {
		return api.Errorf(api.KindOf(err), "cannot remove the trial VM and its image: %w", err).
			WithHint("banger vm delete --force %[1]s; banger image delete %[1]s", t.name)
	}
	return nil
}

// failed records the step that failed.
func (t *trial) failed(step string, err error) *trial {
	if t.Error == nil {
		t.Step, t.Error = step, api.AsError(err)
	}
	return t
}

// check returns the trial as one of the doctor's findings.
func (t *trial) check() api.Check {
	c := api.Check{Name: "trial", Status: doctor.OK, Why: "only a start proves that guests start"}
	if t.Started {
		c.Found = fmt.Sprintf("a guest started with %s (%s), answered, and was removed; it took %.1f s", t.Driver, t.Accel, t.Took)
		return c
	}
	c.Status, c.Found, c.Fix = doctor.Fail, fmt.Sprintf("failed at step %s: %s", t.Step, t.Error.Message), t.Error.Hint
	if strings.Contains(c.Fix, t.name) && !strings.Contains(c.Found, "cannot remove") { // of a VM that is gone
		c.Fix = "banger vm run   starts one that you can inspect"
		if t.managed {
			c.Fix = "journalctl -b -n 20 -u 'banger-vm-*'   shows its VMM's messages"
		}
	}
	return c
}

func trialName() string {
	var b [3]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return trialPrefix + hex.EncodeToString(b[:])
}
