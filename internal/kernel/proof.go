package kernel

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"
)

// Prove boots a guest with a kernel, whose agent mounts an ext4 disk. It returns why
// that failed, or "" if it worked. An error means that it could not be tried.
type Prove func(ctx context.Context, vmlinux, initramfs string) (reason string, err error)

// proof is the configuration of ProveWith.
type proof struct {
	agent string
	boot  Prove
}

// ProveWith makes Import boot each kernel first, with the agent at that path. A kernel
// that no guest can start with is refused: it gets no name, and a kernel that had the
// name keeps it.
func (c *Cache) ProveWith(agent string, boot Prove) { c.proof = &proof{agent, boot} }

// of proves the kernel in dir, which is not in the cache yet. If nothing can be booted,
// it reports that.
func (p *proof) of(ctx context.Context, dir string, modules []module, report api.Report) error {
	report(api.Progress{Step: "kernel", Message: "starting a trial guest with it"})
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
		return api.Errorf(api.KindInvalid, "a trial guest with this kernel did not mount its disk: %s", reason).
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
		return "", api.Errorf(api.KindOf(err), "cannot read the guest agent: %w", err).WithHint("banger-agent must be in bangerd's directory: make build")
	}
	initramfs := filepath.Join(dir, "trial")
	if err := writeFile(initramfs, agent, modules, nil); err != nil {
		return "", fsx.DiskError("make the initramfs", err)
	}
	reason, err := p.boot(ctx, filepath.Join(dir, vmlinuxFile), initramfs)
	return reason, errors.Join(err, os.Remove(initramfs))
}
