package client

import (
	"context"
	"net/http"

	"banger/api"
)

// Status returns the daemon's status.
func (c *Client) Status(ctx context.Context) (api.DaemonStatus, error) {
	var status api.DaemonStatus
	err := c.get(ctx, "/v1/daemon", &status)
	return status, err
}

// Stop ends the daemon. Its VMs keep running.
func (c *Client) Stop(ctx context.Context) error {
	// Do not retry: the daemon that answers a second request is the next one.
	resp, err := c.sendOnce(ctx, http.MethodPost, "/v1/daemon/stop", nil, "")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// StopAndWait ends the daemon and waits until it has ended. No client can start another
// one during the wait.
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
	// The daemon holds this lock until it ends.
	gone, err := lock(ctx, c.paths.Lock())
	if err != nil {
		return api.AsError(err)
	}
	gone()
	return nil
}

// Halted prevents everybody from starting the daemon.
type Halted struct {
	c       *Client
	release func()
}

// Halt ends the daemon if it runs, waits until it has ended, and prevents others from
// starting it until the caller starts it through the result.
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

// Start starts a daemon's program, returns when it answers, and ends the halt.
func (h *Halted) Start(ctx context.Context, program string) error {
	if err := h.c.spawn(ctx, program); err != nil {
		return err
	}
	h.release()
	return nil
}

// Doctor returns the daemon's examination of the host.
func (c *Client) Doctor(ctx context.Context) (api.Doctor, error) {
	var found api.Doctor
	err := c.get(ctx, "/v1/doctor", &found)
	return found, err
}

// Leaks returns the differences between the host's objects and the daemon's VMs.
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
