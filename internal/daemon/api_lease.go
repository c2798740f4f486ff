package daemon

import (
	"context"
	"net/http"

	"banger/api"
)

// leaser is a VMs that has leases; those of tests may have none.
type leaser interface {
	// Lease holds a VM's lease until giveBack is called.
	Lease(ref string) (giveBack func(), err error)
	// EndLease removes a VM's lease.
	EndLease(ctx context.Context, ref string) error
}

// lease holds a VM's lease. Each open stream holds it, too.
func (s *Server) lease(ref string) (giveBack func(), err error) {
	if l, ok := s.svc.VMs.(leaser); ok {
		return l.Lease(ref)
	}
	return func() {}, nil
}

func (s *Server) keepVM(w http.ResponseWriter, r *http.Request) error {
	l, ok := s.svc.VMs.(leaser)
	if !ok {
		return api.Errorf(api.KindUnsupported, "this daemon does not support leases")
	}
	return changed(w, r, nil, l.EndLease(r.Context(), r.PathValue("vm")))
}
