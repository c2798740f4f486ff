package main

import (
	"context"
	"log/slog"

	"banger/api"
	"banger/internal/driver/jailed"
	"banger/internal/host/fileid"
	"banger/internal/kernel"
	"banger/internal/rootapi"
)

// keptKernels makes bangerd-root store a kernel's boot files as soon as the kernel is
// in the cache: computing the digests of some 55 MiB would slow down the first start of
// a VM.
type keptKernels struct {
	*kernel.Cache
	agent  string
	boot   *jailed.BootFiles
	helper *rootapi.Client
	log    *slog.Logger
}

// Pull implements caches.KernelCache.
func (k keptKernels) Pull(ctx context.Context, req api.PullKernel, report api.Report) (api.Kernel, error) {
	got, err := k.Cache.Pull(ctx, req, report)
	if err == nil {
		k.keep(ctx, got)
	}
	return got, err
}

// Import implements caches.KernelCache.
func (k keptKernels) Import(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, error) {
	got, err := k.Cache.Import(ctx, req, report)
	if err == nil {
		k.keep(ctx, got)
	}
	return got, err
}

// Register implements caches.KernelCache.
func (k keptKernels) Register(ctx context.Context, req api.ImportKernel, report api.Report) (api.Kernel, []fileid.File, error) {
	got, files, err := k.Cache.Register(ctx, req, report)
	if err == nil {
		k.keep(ctx, got)
	}
	return got, files, err
}

// keepDefault does so for the default kernel, if there is one.
func (k keptKernels) keepDefault(ctx context.Context) {
	if got, err := k.Cache.Default(); err == nil {
		k.keep(ctx, got)
	}
}

// keep does in advance what a start would do, and logs an error.
func (k keptKernels) keep(ctx context.Context, got api.Kernel) {
	vmlinux, initramfs, err := k.Cache.Boot(ctx, got.Digest, k.agent)
	if err == nil {
		err = k.boot.Keep(ctx, k.helper, vmlinux, initramfs)
	}
	if err != nil && ctx.Err() == nil {
		k.log.Warn("the first start with a kernel will be slower", "kernel", got.Release, "error", err)
	}
}
