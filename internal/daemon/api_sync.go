package daemon

import "net/http"

// sync copies the files that the settings name into a guest.
func (h guestHandlers) sync(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := h.untilStop(r.Context())
	defer cancel()
	done, err := h.svc.Guests.SyncFiles(ctx, r.PathValue("vm"))
	return answer(w, done, err)
}
