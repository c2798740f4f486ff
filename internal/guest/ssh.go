package guest

import (
	"context"

	"banger/api"
	"banger/internal/stdio"
)

// SSH opens a connection to the guest's SSH server, which then has the host key of
// that seed: Stdin and Stdout are its two directions.
func (c *Client) SSH(ctx context.Context, hostKey []byte) (*Session, error) {
	return c.open(ctx, stdio.Open{SSH: &stdio.SSH{HostKey: hostKey}})
}

// Outdated explains that an agent does not know a kind of session: it is the one
// that the guest was started with.
func Outdated(err error, vm string) error {
	if e := api.AsError(err); err != nil && e.Kind == api.KindUnsupported && e.Hint == "" {
		return e.WithHint("banger vm restart %s   gives it the agent of this version", vm)
	}
	return err
}
