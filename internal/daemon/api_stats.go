package daemon

import (
	"net/http"

	"banger/api"
)

// observerHandlers answer requests that look at VMs.
type observerHandlers struct{ *core }

func (h observerHandlers) stats(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	for name := range values {
		if name != "vm" {
			return api.Errorf(api.KindInvalid, "bad query parameter %q", name)
		}
	}
	list, err := h.svc.Observer.Stats(r.Context(), values["vm"])
	return answer(w, list, err)
}

func (h observerHandlers) health(w http.ResponseWriter, r *http.Request) error {
	health, err := h.svc.Observer.Health(r.Context(), r.PathValue("vm"))
	return answer(w, health, err)
}
