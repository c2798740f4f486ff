package main

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/apt"
	"banger/internal/buildinfo"
	"banger/internal/config"
	"banger/internal/daemon"
	"banger/internal/disk"
	"banger/internal/disk/copy"
	"banger/internal/disk/qcow2"
	"banger/internal/disk/reflink"
	"banger/internal/doctor"
	"banger/internal/driver"
	"banger/internal/driver/qemu"
	"banger/internal/image"
	"banger/internal/kernel"
)

// build names the concrete drivers: nothing else does.
func build(ctx context.Context, env daemon.Env) (*daemon.Services, error) {
	host := config.DetectHost()
	settings, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
	if err != nil {
		return nil, err
	}
	// The daemon's lock is held: nobody is at work there. What cannot be removed
	// is in nobody's way.
	if err := image.EmptyStaging(ctx, env.Paths.Staging()); err != nil {
		env.Log.Warn("cannot empty the staging directory", "error", err)
	}
	packages := apt.New(env.Paths.Apt())
	images, err := image.Open(env.Paths, packages)
	if err != nil {
		return nil, err
	}
	kernels, err := kernel.Open(env.Paths, packages)
	if err != nil {
		return nil, err
	}
	agent, err := agentPath()
	if err != nil {
		return nil, err
	}
	link := reflink.New()
	vmm := qemu.New(env.Paths, qemu.Options{Accel: settings.Accel})
	return daemon.Assemble(ctx, env, daemon.Parts{
		Config: settings, Host: host, Agent: agent, Version: buildinfo.Get().Version,
		Drivers: []driver.Driver{vmm},
		Disks:   []disk.Driver{link, qcow2.New(), copy.New()},
		Images:  imageCache{images}, Kernels: kernels,
		Doctor: func(ctx context.Context) []api.Check {
			return doctor.Run(ctx, doctor.ThisHost(env.Paths, doctor.Probes{
				VMM:     func(ctx context.Context) (driver.Capability, error) { return vmm.Probe(ctx, "", "") },
				Reflink: func(ctx context.Context) error { return link.Probe(ctx, env.Paths.VMs(), env.Paths.Images()) },
			}))
		},
	})
}

// agentPath finds the guest's agent: $BANGER_AGENT, or beside this program.
func agentPath() (string, error) {
	if path := os.Getenv("BANGER_AGENT"); path != "" {
		return filepath.Abs(path)
	}
	self, err := os.Executable()
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot find the guest agent: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "banger-agent"), nil
}
