package client

import (
	"context"

	"banger/api"
)

// SSHAccess returns what reaching a running VM by SSH takes.
func (c *Client) SSHAccess(ctx context.Context, ref string) (api.SSHAccess, error) {
	var access api.SSHAccess
	err := c.get(ctx, vmPath(ref)+"/ssh", &access)
	return access, err
}
