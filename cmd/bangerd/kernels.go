package main

import (
	"context"
	"log/slog"

	"banger/api"
	"banger/internal/driver/jailed"
	"banger/internal/kernel"
	"banger/internal/rootapi"
)

// keptKernels has bangerd-root keep what VMs boot from as soon as a kernel is
// there: taking the digests of some 55 MiB would make the first start of a VM slow.
type keptKernels struct {
	*kernel.Cache
	agent  string
	boot   *jailed.BootFiles
	helper *rootapi.Client
	log    *slog.Logger
}

// Pull implements daemon.KernelCache.
func (k keptKernels) Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error) {
	got, err := k.Cache.Pull(ctx, req, report)
	if err == nil {
		k.keep(ctx, got)
	}
	return got, err
}

// Import implements daemon.KernelCache.
func (k keptKernels) Import(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error) {
	got, err := k.Cache.Import(ctx, req, report)
	if err == nil {
		k.keep(ctx, got)
	}
	return got, err
}

// keepDefault does so for the kernel that most VMs boot, if there is one.
func (k keptKernels) keepDefault(ctx context.Context) {
	if got, err := k.Cache.Default(); err == nil {
		k.keep(ctx, got)
	}
}

// keep does beforehand what a start does otherwise, and is told then what is wrong.
func (k keptKernels) keep(ctx context.Context, got api.Kernel) {
	vmlinux, initramfs, err := k.Cache.Boot(ctx, got.Digest, k.agent)
	if err == nil {
		err = k.boot.Keep(ctx, k.helper, vmlinux, initramfs)
	}
	if err != nil && ctx.Err() == nil {
		k.log.Warn("the first start with a kernel will be slower", "kernel", got.Release, "error", err)
	}
}
