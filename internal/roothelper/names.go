package roothelper

import (
	"context"
	"os"

	"banger/internal/host/resolved"
	"banger/internal/rootapi"
)

// Names gives running VMs names on the host. Package resolved implements it.
type Names interface {
	Ensure(ctx context.Context) (resolved.State, error)
	// Listen returns the sockets for questions about VMs: UDP, then TCP.
	Listen(ctx context.Context) ([]*os.File, error)
	Remove() error
}

// nameVMs carries out the verb names.
func nameVMs(ctx context.Context, h *Helper, c rootapi.NamesCall) (any, []*os.File, error) {
	state, err := h.Names.Ensure(ctx)
	if err != nil {
		return nil, nil, err
	}
	answer := rootapi.NamesAnswer{Outer: h.Settings.Outer, Link: state.Link, Problem: state.Problem, Absent: state.Absent, Taken: state.Taken}
	if !c.Sockets {
		return answer, nil, nil
	}
	files, err := h.Names.Listen(ctx)
	return answer, files, err
}

var _ Names = (*resolved.Names)(nil)
