package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/imageconfig"
)

func vmPath(ref string) string { return "/v1/vms/" + url.PathEscape(ref) }

// ListVMs returns all VMs, oldest first.
func (c *Client) ListVMs(ctx context.Context) ([]api.VM, error) {
	var list api.VMList
	err := c.get(ctx, "/v1/vms", &list)
	return list.VMs, err
}

// ShowVM returns the VM of a name or id.
func (c *Client) ShowVM(ctx context.Context, ref string) (api.VM, error) {
	var vm api.VM
	err := c.get(ctx, vmPath(ref), &vm)
	return vm, err
}

// CreateVM creates a VM and, if requested, starts it.
func (c *Client) CreateVM(ctx context.Context, req api.CreateVM, report api.Report) (api.VM, error) {
	return c.operateVM(ctx, http.MethodPost, "/v1/vms", req, report)
}

// StartVM starts a stopped VM and waits until its guest answers.
func (c *Client) StartVM(ctx context.Context, ref string, req api.StartVM, report api.Report) (api.VM, error) {
	return c.operateVM(ctx, http.MethodPost, vmPath(ref)+"/start", startBody(req), report)
}

// RestartVM stops a VM and starts it again.
func (c *Client) RestartVM(ctx context.Context, ref string, req api.StartVM, report api.Report) (api.VM, error) {
	return c.operateVM(ctx, http.MethodPost, vmPath(ref)+"/restart", startBody(req), report)
}

// startBody returns nil for an empty request: older daemons read no body.
func startBody(req api.StartVM) any {
	if req == (api.StartVM{}) {
		return nil
	}
	return req
}

// KillVM ends a VM immediately.
func (c *Client) KillVM(ctx context.Context, ref string, report api.Report) (api.VM, error) {
	return c.operateVM(ctx, http.MethodPost, vmPath(ref)+"/kill", nil, report)
}

// StopVM shuts a VM down, and kills it if that takes too long.
func (c *Client) StopVM(ctx context.Context, ref string, req api.StopVM, report api.Report) (api.VM, error) {
	return c.operateVM(ctx, http.MethodPost, vmPath(ref)+"/stop", req, report)
}

// DeleteVM removes a VM with its disk; with force even a running one.
func (c *Client) DeleteVM(ctx context.Context, ref string, force bool, report api.Report) error {
	path := vmPath(ref)
	if force {
		path += "?force=1"
	}
	_, err := c.operate(ctx, http.MethodDelete, path, nil, report)
	return err
}

// CommitVM creates an image from a stopped VM.
func (c *Client) CommitVM(ctx context.Context, ref string, req api.CommitVM, report api.Report) (api.Image, error) {
	return c.operateImage(ctx, vmPath(ref)+"/commit", req, report)
}

// RenameVM gives a VM a new name.
func (c *Client) RenameVM(ctx context.Context, ref, name string) (api.VM, error) {
	var vm api.VM
	err := c.do(ctx, http.MethodPost, vmPath(ref)+"/rename", api.RenameVM{Name: name}, &vm)
	return vm, err
}

// SetVM changes the memory and processors of a stopped VM.
func (c *Client) SetVM(ctx context.Context, ref string, req api.SetVM) (api.VM, error) {
	var vm api.VM
	err := c.do(ctx, http.MethodPost, vmPath(ref)+"/set", req, &vm)
	return vm, err
}

// KeepVM removes the lease of a VM, which then exists until it stops.
func (c *Client) KeepVM(ctx context.Context, ref string) error {
	return c.do(ctx, http.MethodPost, vmPath(ref)+"/keep", nil, nil)
}

// PublishVM changes which ports of a VM are published.
func (c *Client) PublishVM(ctx context.Context, ref string, req api.PublishVM) (api.VM, error) {
	var vm api.VM
	err := c.do(ctx, http.MethodPost, vmPath(ref)+"/publish", req, &vm)
	return vm, err
}

// WaitVM waits until a VM is not running, through restarts of the daemon.
func (c *Client) WaitVM(ctx context.Context, ref string) (api.VM, error) {
	var b breaks
	for {
		var vm api.VM
		b.begin()
		err := c.get(ctx, vmPath(ref)+"/wait", &vm)
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

// LogsVM writes the output of a VM's serial console to w: the last tail lines, or all if
// tail is negative, and with follow also what follows, until the VM stops or ctx ends,
// through restarts of the daemon.
func (c *Client) LogsVM(ctx context.Context, ref string, follow bool, tail int, w io.Writer) error {
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
		resp, err := c.send(ctx, http.MethodGet, vmPath(ref)+"/logs?"+query.Encode(), nil, "")
		if err != nil {
			return err
		}
		from, parseErr := strconv.ParseInt(resp.Header.Get(LogOffsetHeader), 10, 64)
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

// LogOffsetHeader carries the offset in a console's log, in bytes, at which an answer begins.
const LogOffsetHeader = "Banger-Log-Offset"

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

// ListSessions returns the sessions in a VM, oldest first.
func (c *Client) ListSessions(ctx context.Context, ref string) ([]api.Session, error) {
	var list api.SessionList
	err := c.get(ctx, vmPath(ref)+"/sessions", &list)
	return list.Sessions, err
}

// PruneVMs removes every VM that is not running.
func (c *Client) PruneVMs(ctx context.Context, report api.Report) (api.Pruned, error) {
	return c.prune(ctx, "/v1/vms/prune", report)
}

// Guest returns a client of the agent in a running VM. Its sessions survive a restart of
// the daemon, which they start again if necessary. From its first stream on it refers to
// that VM, even if the VM is renamed.
func (c *Client) Guest(ref string) *guest.Client {
	var newest atomic.Pointer[opened] // of its streams
	newest.Store(&opened{id: ref, name: ref})
	return &guest.Client{
		Unresponsive: c.unresponsive,
		VM:           func() string { return newest.Load().name },
		Dial: func(ctx context.Context) (net.Conn, error) {
			known := newest.Load()
			conn, err := c.DialGuest(ctx, known.id)
			if s, ok := conn.(*streamConn); ok {
				newest.Store(&s.opened)
			} else if api.KindOf(err) == api.KindNotFound && known.name != known.id {
				err = api.Errorf(api.KindNotFound, "VM %s was deleted", known.name) // the user has not typed the id
			}
			return conn, err
		},
		Complete: func(e api.Exec) api.Exec { return imageconfig.Complete(newest.Load().image, e) },
	}
}

func (c *Client) prune(ctx context.Context, path string, report api.Report) (api.Pruned, error) {
	result, err := c.operate(ctx, http.MethodPost, path, nil, report)
	if err != nil || result.Pruned == nil {
		return api.Pruned{}, err
	}
	return *result.Pruned, nil
}

func (c *Client) operateVM(ctx context.Context, method, path string, in any, report api.Report) (api.VM, error) {
	result, err := c.operate(ctx, method, path, in, report)
	if err != nil || result.VM == nil {
		return api.VM{}, err
	}
	return *result.VM, nil
}
