package guest

import (
	"context"

	"banger/internal/guest/stdio"
)

// SSH opens a connection to the guest's SSH server, which uses the host key with that
// seed: Stdin and Stdout are its two directions.
func (c *Client) SSH(ctx context.Context, hostKey []byte) (*Session, error) {
	return c.open(ctx, stdio.Open{SSH: &stdio.SSH{HostKey: hostKey}})
}
