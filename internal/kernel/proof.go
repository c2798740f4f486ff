package kernel

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/fsx"
)

// Prove boots a guest of a kernel whose agent mounts an ext4 disk, and says why that
// does not work; "" if it does. An error says that it could not be tried.
type Prove func(ctx context.Context, vmlinux, initramfs string) (reason string, err error)

// proof is how a kernel is proven.
type proof struct {
	agent string
	boot  Prove
}

// ProveWith has each kernel that is imported booted first, with the agent at that path.
// One that no guest can start with is refused: it has no name by then, and who had the
// name before keeps it.
func (c *Cache) ProveWith(agent string, boot Prove) { c.proof = &proof{agent, boot} }

// of proves the kernel in dir, which is not in the cache yet. Where nothing can be
// booted, that is said.
func (p *proof) of(ctx context.Context, dir string, modules []module, report api.Report) error {
	report(api.Progress{Step: "kernel", Message: "starting a guest of it as a trial"})
	reason, err := p.try(ctx, dir, modules)
	switch {
	case ctx.Err() != nil:
		return api.Errorf(api.KindCanceled, "the trial was stopped: %w", context.Cause(ctx))
	case api.KindOf(err) == api.KindUnsupported:
		report(api.Progress{Step: api.StepNote, Message: "this kernel was not tried: " + err.Error()})
		return nil
	case err != nil:
		return err
	case reason != "":
		return api.Errorf(api.KindInvalid, "a guest that was started with it as a trial did not mount its disk: %s", reason).
			WithHint("a distribution's kernel needs its modules: --modules /lib/modules/RELEASE\n" +
				"one without modules must have virtio_mmio, virtio_blk, virtio_console, virtio_net and ext4 built in")
	}
	return nil
}

func (p *proof) try(ctx context.Context, dir string, modules []module) (string, error) {
	agent, err := readFile(p.agent)
	if err == nil {
		err = checkAgent(agent)
	}
	if err != nil {
		return "", api.Errorf(api.KindOf(err), "cannot read the guest agent: %w", err).WithHint("banger-agent belongs beside bangerd: make build")
	}
	initramfs := filepath.Join(dir, "trial")
	if err := writeFile(initramfs, agent, modules, nil); err != nil {
		return "", fsx.DiskError("make the initramfs", err)
	}
	reason, err := p.boot(ctx, filepath.Join(dir, vmlinuxFile), initramfs)
	return reason, errors.Join(err, os.Remove(initramfs))
}
