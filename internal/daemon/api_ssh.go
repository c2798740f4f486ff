package daemon

import "net/http"

func (h guestHandlers) ssh(w http.ResponseWriter, r *http.Request) error {
	access, err := h.svc.Guests.SSHAccess(r.Context(), r.PathValue("vm"))
	return answer(w, access, err)
}
