package daemon

import (
	"net/http"

	"banger/api"
)

func (h guestHandlers) sessions(w http.ResponseWriter, r *http.Request) error {
	list, err := h.svc.Guests.Sessions(r.Context(), r.PathValue("vm"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, api.SessionList{Sessions: list})
	return nil
}
