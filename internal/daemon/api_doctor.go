package daemon

import (
	"net/http"

	"banger/api"
)

func (h daemonHandlers) doctor(w http.ResponseWriter, r *http.Request) error {
	return answer(w, api.Doctor{Checks: orEmpty(h.svc.Doctor(r.Context()))}, nil)
}

func (h daemonHandlers) leaks(w http.ResponseWriter, r *http.Request) error {
	found, err := h.svc.VMs.Leaks(r.Context())
	return answer(w, found, err)
}
