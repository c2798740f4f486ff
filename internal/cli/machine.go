package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/buildinfo"
	"banger/internal/daemonstart"
	"banger/internal/paths"
	"banger/internal/rootapi"
	"banger/internal/system"
)

// thisMachine returns this machine, with the CLI's ways to reach the daemons.
func thisMachine() *system.Host {
	h := system.ThisHost()
	daemon := daemonstart.System()
	helper := &rootapi.Client{Socket: paths.RootSocket, Version: buildinfo.Get().Version, Patience: helperTime}
	h.AskDaemon = func(ctx context.Context) (system.Answer, error) {
		s, err := daemon.Daemon().Status(ctx)
		return system.Answer{Version: s.Version, Running: s.Running}, err
	}
	h.AskHelper = func(ctx context.Context) (system.Answer, error) {
		var hello rootapi.HelloAnswer
		_, err := helper.Do(ctx, rootapi.HelloCall{}, &hello)
		// An updater talks to a helper of another version, which may use another protocol.
		if other := (*rootapi.OtherProtocol)(nil); errors.As(err, &other) {
			return system.Answer{Version: other.Helper}, nil
		}
		return system.Answer{Version: hello.Version}, err
	}
	h.AskFirecracker = func(ctx context.Context) system.FirecrackerState { return askFirecracker(ctx, helper) }
	h.AskNames = func(ctx context.Context) system.NamesState { return askNames(ctx, helper) }
	h.StopVMs = func(ctx context.Context) error { return stopRunning(ctx, daemon) }
	h.RemoveTraces = func(ctx context.Context) error { return releaseAll(ctx, helper) }
	return h
}

// askFirecracker asks the helper which Firecracker new VMs use.
func askFirecracker(ctx context.Context, c *rootapi.Client) system.FirecrackerState {
	var host rootapi.CheckAnswer
	if _, err := c.Do(ctx, rootapi.CheckCall{}, &host); err != nil {
		return system.FirecrackerState{Problem: api.AsError(err).Message, Unknown: true}
	}
	f := host.Firecracker
	return system.FirecrackerState{Version: f.Version, Path: f.Path, Jailer: f.Jailer, Problem: f.Reason, Warnings: f.Warnings, NoKVM: host.KVM}
}

// askNames asks the helper whether VMs' names resolve on this host.
func askNames(ctx context.Context, c *rootapi.Client) system.NamesState {
	var names rootapi.NamesAnswer
	if _, err := c.Do(ctx, rootapi.NamesCall{}, &names); err != nil {
		return system.NamesState{Problem: api.AsError(err).Message, Unknown: true}
	}
	return system.NamesState{Problem: names.Problem, Taken: names.Taken}
}

// helperTime bounds the wait for a helper that systemd reported to be up.
const helperTime = 5 * time.Second

// stopRunning has the daemon stop every running VM.
func stopRunning(ctx context.Context, c *client.Client) error {
	vms, err := c.VMs().List(ctx)
	if err != nil {
		return err
	}
	vms = slices.DeleteFunc(vms, func(vm api.VM) bool { return vm.State != api.StateRunning && vm.State != api.StatePaused })
	failed := make([]error, len(vms))
	inParallel(len(vms), maxParallel, func(i int) {
		_, failed[i] = c.VMs().Stop(ctx, vms[i].ID, api.StopVM{}, func(api.Progress) {})
	})
	return errors.Join(failed...)
}

// releaseAll has the helper remove everything that carries banger's names.
func releaseAll(ctx context.Context, c *rootapi.Client) error {
	var held rootapi.ListAnswer
	if _, err := c.Do(ctx, rootapi.ListCall{}, &held); err != nil {
		return err
	}
	released := map[string]bool{"": true}
	for _, o := range held.Objects {
		if released[o.ID] {
			continue
		}
		released[o.ID] = true
		if _, err := c.Do(ctx, rootapi.VMReleaseCall{VM: rootapi.VM{ID: o.ID}}, nil); err != nil {
			return err
		}
	}
	_, err := c.Do(ctx, rootapi.ClearCall{}, nil)
	return err
}

// programDir returns the directory of this program and of those that belong to it.
func programDir() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot find this program: %w", err)
	}
	return filepath.Dir(self), nil
}
