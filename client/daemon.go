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
	return c.do(ctx, http.MethodPost, "/v1/daemon/stop", nil, nil)
}

// StopAndWait has the daemon end and waits until it has. No client starts
// another one in the meantime.
func (c *Client) StopAndWait(ctx context.Context) error {
	mayStart, err := lock(ctx, c.paths.StartLock())
	if err != nil {
		return api.AsError(err)
	}
	defer mayStart()
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
