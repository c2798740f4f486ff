package client

import (
	"context"

	"banger/api"
)

// SSHAccess returns what a client needs to connect to a running VM by SSH.
func (c *Client) SSHAccess(ctx context.Context, ref string) (api.SSHAccess, error) {
	var access api.SSHAccess
	err := c.get(ctx, vmPath(ref)+"/ssh", &access)
	return access, err
}
