package client

import (
	"context"
	"net/http"

	"banger/api"
)

// Status returns how the daemon is.
func (c *Client) Status(ctx context.Context) (api.DaemonStatus, error) {
	var status api.DaemonStatus
	err := c.get(ctx, "/v1/daemon", &status)
	return status, err
}

// Stop has the daemon end. Its VMs run on.
func (c *Client) Stop(ctx context.Context) error {
	// Not again: the daemon that answers then is the next one.
	resp, err := c.sendOnce(ctx, http.MethodPost, "/v1/daemon/stop", nil, "")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// StopAndWait has the daemon end and waits until it has. No client starts
// another one in the meantime.
func (c *Client) StopAndWait(ctx context.Context) error {
	mayStart, err := lock(ctx, c.paths.StartLock())
	if err != nil {
		return api.AsError(err)
	}
	defer mayStart()
	return c.stopHeld(ctx)
}

func (c *Client) stopHeld(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return api.AsError(err)
	}
	// The daemon holds this one for as long as it lives.
	gone, err := lock(ctx, c.paths.Lock())
	if err != nil {
		return api.AsError(err)
	}
	gone()
	return nil
}

// Halted keeps everybody from starting the daemon.
type Halted struct {
	c       *Client
	release func()
}

// Halt has the daemon end where it runs, waits until it has, and keeps it from
// being started by others until it is started from what is returned.
func (c *Client) Halt(ctx context.Context) (*Halted, error) {
	mayStart, err := lock(ctx, c.paths.StartLock())
	if err != nil {
		return nil, api.AsError(err)
	}
	if err := c.stopHeld(ctx); err != nil && api.KindOf(err) != api.KindNotFound {
		mayStart()
		return nil, err
	}
	return &Halted{c, mayStart}, nil
}

// Start starts a daemon's program and returns when it answers; then the halt is
// over.
func (h *Halted) Start(ctx context.Context, program string) error {
	if err := h.c.spawn(ctx, program); err != nil {
		return err
	}
	h.release()
	return nil
}

// Doctor has the daemon examine the host.
func (c *Client) Doctor(ctx context.Context) (api.Doctor, error) {
	var found api.Doctor
	err := c.get(ctx, "/v1/doctor", &found)
	return found, err
}

// Leaks has the daemon compare what the host holds with the VMs that it knows.
func (c *Client) Leaks(ctx context.Context) (api.Leaks, error) {
	var found api.Leaks
	err := c.get(ctx, "/v1/leaks", &found)
	return found, err
}

// Config returns the settings that the daemon uses.
func (c *Client) Config(ctx context.Context) (api.Config, error) {
	var config api.Config
	err := c.get(ctx, "/v1/config", &config)
	return config, err
}
