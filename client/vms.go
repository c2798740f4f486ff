package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"banger/api"
)

// VMs has the requests about VMs, as seen from outside; [Client.Guest] is the inside of one.
type VMs struct{ of resource[api.VM] }

// List returns all VMs, oldest first.
func (v VMs) List(ctx context.Context) ([]api.VM, error) {
	var list api.VMList
	err := v.of.t.get(ctx, v.of.path, &list)
	return list.VMs, err
}

// Show returns the VM of a name or id.
func (v VMs) Show(ctx context.Context, ref string) (api.VM, error) { return v.of.show(ctx, ref) }

// Create creates a VM and, if requested, starts it.
func (v VMs) Create(ctx context.Context, req api.CreateVM, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, v.of.path, req, report)
}

// Start starts a stopped VM and waits until its guest answers.
func (v VMs) Start(ctx context.Context, ref string, req api.StartVM, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "start"), startBody(req), report)
}

// Restart stops a VM and starts it again.
func (v VMs) Restart(ctx context.Context, ref string, req api.StartVM, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "restart"), startBody(req), report)
}

// startBody returns nil for an empty request: older daemons read no body.
func startBody(req api.StartVM) any {
	if req == (api.StartVM{}) {
		return nil
	}
	return req
}

// Kill ends a VM immediately.
func (v VMs) Kill(ctx context.Context, ref string, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "kill"), nil, report)
}

// Signal sends a signal to the VMM of a VM, and waits for its end. api.ParseSignal says which are
// allowed.
func (v VMs) Signal(ctx context.Context, ref, signal string, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "signal"), api.SignalVM{Signal: signal}, report)
}

// Stop shuts a VM down, and kills it if that takes too long.
func (v VMs) Stop(ctx context.Context, ref string, req api.StopVM, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "stop"), req, report)
}

// Pause stops the processors of a running VM, which keeps its memory and its sessions.
func (v VMs) Pause(ctx context.Context, ref string, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "pause"), nil, report)
}

// Resume lets a paused VM run again.
func (v VMs) Resume(ctx context.Context, ref string, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "resume"), nil, report)
}

// Suspend writes the memory of a running VM to the host's disk and ends its VMM. Its next start continues
// where it was.
func (v VMs) Suspend(ctx context.Context, ref string, report api.Report) (api.VM, error) {
	return v.of.operate(ctx, at(v.of.path, ref, "suspend"), nil, report)
}

// Delete removes a VM with its disk; with force even a running one.
func (v VMs) Delete(ctx context.Context, ref string, force bool, report api.Report) error {
	path := at(v.of.path, ref)
	if force {
		path += "?force=1"
	}
	_, err := v.of.t.operate(ctx, http.MethodDelete, path, nil, report)
	return err
}

// Prune removes every VM that is not running.
func (v VMs) Prune(ctx context.Context, report api.Report) (api.Pruned, error) {
	return v.of.prune(ctx, report)
}

// Commit creates an image from a stopped VM.
func (v VMs) Commit(ctx context.Context, ref string, req api.CommitVM, report api.Report) (api.Image, error) {
	return imagesOf(v.of.t).operate(ctx, at(v.of.path, ref, "commit"), req, report)
}

// Rename gives a VM a new name.
func (v VMs) Rename(ctx context.Context, ref, name string) (api.VM, error) {
	return v.of.change(ctx, at(v.of.path, ref, "rename"), api.RenameVM{Name: name})
}

// Set changes a VM: at once what can change while it runs, the rest from its next start on (api.VM.Next).
func (v VMs) Set(ctx context.Context, ref string, req api.SetVM) (api.VM, error) {
	return v.of.change(ctx, at(v.of.path, ref, "set"), req)
}

// Keep removes the lease of a VM, which then exists until it stops.
func (v VMs) Keep(ctx context.Context, ref string) error {
	return v.of.t.do(ctx, http.MethodPost, at(v.of.path, ref, "keep"), nil, nil)
}

// Publish changes which ports of a VM are published.
func (v VMs) Publish(ctx context.Context, ref string, req api.PublishVM) (api.VM, error) {
	return v.of.change(ctx, at(v.of.path, ref, "publish"), req)
}

// Sessions returns the sessions in a VM, oldest first.
func (v VMs) Sessions(ctx context.Context, ref string) ([]api.Session, error) {
	var list api.SessionList
	err := v.of.t.get(ctx, at(v.of.path, ref, "sessions"), &list)
	return list.Sessions, err
}

// Stats returns what the VMs of names or ids use, or without one what all VMs that run use. One
// that does not exist, or whose guest does not answer, has an error of its own.
func (v VMs) Stats(ctx context.Context, refs ...string) (api.StatsList, error) {
	var list api.StatsList
	path := "/v1/stats"
	if len(refs) > 0 {
		path += "?" + url.Values{"vm": refs}.Encode()
	}
	err := v.of.t.get(ctx, path, &list)
	return list, err
}

// Health returns how each part of a VM is.
func (v VMs) Health(ctx context.Context, ref string) (api.VMHealth, error) {
	var health api.VMHealth
	err := v.of.t.get(ctx, at(v.of.path, ref, "health"), &health)
	return health, err
}

// SyncFiles copies the files that the settings name into a running VM.
func (v VMs) SyncFiles(ctx context.Context, ref string) (api.SyncedFiles, error) {
	var done api.SyncedFiles
	err := v.of.t.do(ctx, http.MethodPost, at(v.of.path, ref, "sync"), nil, &done)
	return done, err
}

// SSHAccess returns what a client needs to connect to a running VM by SSH.
func (v VMs) SSHAccess(ctx context.Context, ref string) (api.SSHAccess, error) {
	var access api.SSHAccess
	err := v.of.t.get(ctx, at(v.of.path, ref, "ssh"), &access)
	return access, err
}

// Wait waits until a VM is not running, through restarts of the daemon.
func (v VMs) Wait(ctx context.Context, ref string) (api.VM, error) {
	var b breaks
	for {
		var vm api.VM
		b.begin()
		err := v.of.t.get(ctx, at(v.of.path, ref, "wait"), &vm)
		if ctx.Err() != nil {
			return vm, api.Errorf(api.KindCanceled, "gave up waiting: %w", context.Cause(ctx))
		}
		if !isBroken(err) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return vm, err
		}
		if b.tooMany() {
			return vm, api.AsError(err)
		}
	}
}

// Logs writes the output of a VM's serial console to w: the last tail lines, or all if
// tail is negative, and with follow also what follows, until the VM stops or ctx ends,
// through restarts of the daemon.
func (v VMs) Logs(ctx context.Context, ref string, follow bool, tail int, w io.Writer) error {
	query := url.Values{}
	if follow {
		query.Set("follow", "1")
	}
	if tail >= 0 {
		query.Set("tail", fmt.Sprint(tail))
	}
	var b breaks
	for {
		b.begin()
		resp, err := v.of.t.send(ctx, http.MethodGet, at(v.of.path, ref, "logs")+"?"+query.Encode(), nil, "")
		if err != nil {
			return err
		}
		from, parseErr := strconv.ParseInt(resp.Header.Get(api.LogOffsetHeader), 10, 64)
		to := &failing{w: w}
		n, err := io.Copy(to, resp.Body)
		resp.Body.Close()
		if err == nil || ctx.Err() != nil {
			return nil
		}
		// An older daemon does not send the offset in the log at which its answer begins.
		if to.failed || !follow || parseErr != nil || b.tooMany() {
			return fmt.Errorf("cannot copy the console of %s: %w", ref, err)
		}
		query.Del("tail")
		query.Set("from", fmt.Sprint(from+n))
	}
}

// failing is a writer that records whether a write has failed.
type failing struct {
	w      io.Writer
	failed bool
}

func (f *failing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.failed = f.failed || err != nil
	return n, err
}
