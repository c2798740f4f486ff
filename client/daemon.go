package client

import (
	"context"
	"net/http"
	"net/url"

	"banger/api"
)

// Daemon has the requests about the daemon itself and its host.
type Daemon struct{ t *transport }

// Status returns the daemon's status.
func (d Daemon) Status(ctx context.Context) (api.DaemonStatus, error) {
	var status api.DaemonStatus
	err := d.t.get(ctx, "/v1/daemon", &status)
	return status, err
}

// Stop ends the daemon. Its VMs keep running.
func (d Daemon) Stop(ctx context.Context) error {
	// Do not retry: the daemon that answers a second request is the next one.
	resp, err := d.t.sendOnce(ctx, http.MethodPost, "/v1/daemon/stop", nil, "")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Doctor returns the daemon's examination of the host.
func (d Daemon) Doctor(ctx context.Context) (api.Doctor, error) {
	var found api.Doctor
	err := d.t.get(ctx, "/v1/doctor", &found)
	return found, err
}

// Leaks returns the differences between the host's objects and the daemon's VMs.
func (d Daemon) Leaks(ctx context.Context) (api.Leaks, error) {
	var found api.Leaks
	err := d.t.get(ctx, "/v1/leaks", &found)
	return found, err
}

// Config returns the settings that the daemon uses.
func (d Daemon) Config(ctx context.Context) (api.Config, error) { return d.ConfigFor(ctx, "", "") }

// ConfigFor returns the settings as they apply to a new VM of a profile and an image, one of which
// may be empty.
func (d Daemon) ConfigFor(ctx context.Context, profile, image string) (api.Config, error) {
	query := url.Values{}
	for key, value := range map[string]string{"profile": profile, "image": image} {
		if value != "" {
			query.Set(key, value)
		}
	}
	path := "/v1/config"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var config api.Config
	err := d.t.get(ctx, path, &config)
	return config, err
}
