package fakes

import (
	"context"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/config"
	"banger/internal/daemon"
	"banger/internal/disk"
	"banger/internal/disk/copy"
	"banger/internal/disk/qcow2"
	"banger/internal/disk/reflink"
	"banger/internal/doctor"
	"banger/internal/driver"
	"banger/internal/driver/fake"
	"banger/internal/driver/qemu"
	"banger/internal/host/apt"
	"banger/internal/image"
	"banger/internal/kernel"
	"banger/internal/vm"
)

// Build is what cmd/bangerd does, with the fake driver beside QEMU's. The file "fault"
// in the directory of the configuration holds a fault of fake machines.
func Build(ctx context.Context, env daemon.Env) (*daemon.Services, error) {
	host := config.DetectHost()
	settings, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
	if err != nil {
		return nil, err
	}
	if err := image.EmptyStaging(ctx, env.Paths.Staging()); err != nil {
		env.Log.Warn("cannot empty the staging directory", "error", err)
	}
	packages := apt.New(env.Paths.Apt())
	kernels, err := kernel.Open(env.Paths, packages)
	if err != nil {
		return nil, err
	}
	images, err := image.Open(env.Paths, packages)
	if err != nil {
		return nil, err
	}
	images.UseRegistries(func() (string, error) {
		c, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
		return c.RegistryCA, err
	}, nil)
	images.UseShortNames(func() (map[string]string, error) {
		c, err := config.Load(env.Paths.ConfigFile(), os.Getenv, host)
		return c.ImageNames, err
	})
	vmm := qemu.New(env.Paths, qemu.Options{Accel: settings.Accel})
	fakes := fake.New(fake.Options{FaultFile: filepath.Join(env.Paths.Config, "fault")})
	return daemon.Assemble(ctx, env, daemon.Parts{
		Config: settings, Host: host, Agent: os.Getenv("BANGER_AGENT"), Version: buildinfo.Get().Version,
		Drivers: []driver.Driver{fakes, vmm},
		Disks:   []disk.Driver{reflink.New(), qcow2.New(), copy.New()},
		Images:  images, Kernels: kernels,
		Doctor: func(ctx context.Context, vms *vm.Service) []api.Check {
			return doctor.Run(ctx, doctor.ThisHost(env.Paths, doctor.Probes{
				Suspended: vms.Judge,
				VMM:       func(ctx context.Context) (driver.Capability, error) { return fakes.Probe(ctx, "", "") },
			}))
		},
	})
}
