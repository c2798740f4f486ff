package daemon

import (
	"net/http"

	"banger/api"
)

// operationHandlers answer requests about operations.
type operationHandlers struct{ *core }

func (h operationHandlers) list(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, api.OperationList{Operations: orEmpty(h.svc.Operations.List())}, nil)
}

func (h operationHandlers) show(w http.ResponseWriter, r *http.Request) error {
	o, err := h.svc.Operations.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, o.Snapshot(), nil)
}

// events replays the events from the first one, so that a client
// whose connection broke misses none.
func (h operationHandlers) events(w http.ResponseWriter, r *http.Request) error {
	o, err := h.svc.Operations.Get(r.PathValue("id"))
	return h.follow(w, r, o, err)
}

// cancel answers immediately; the operation's events report when it has been
// undone.
func (h operationHandlers) cancel(w http.ResponseWriter, r *http.Request) error {
	if err := h.svc.Operations.Cancel(r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
