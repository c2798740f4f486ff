package daemon

import (
	"net/http"

	"banger/api"
)

// lease holds a VM's lease. Each open stream holds it, too.
func (h guestHandlers) lease(ref string) (giveBack func(), err error) {
	if h.svc.Leases == nil {
		return func() {}, nil
	}
	return h.svc.Leases.Lease(ref)
}

func (h guestHandlers) keep(w http.ResponseWriter, r *http.Request) error {
	if h.svc.Leases == nil {
		return api.Errorf(api.KindUnsupported, "this daemon does not support leases")
	}
	return changed(w, r, nil, h.svc.Leases.EndLease(r.Context(), r.PathValue("vm")))
}
