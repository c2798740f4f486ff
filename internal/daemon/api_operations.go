package daemon

import (
	"net/http"

	"banger/api"
)

func (s *Server) listOperations(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, api.OperationList{Operations: orEmpty(s.svc.Operations.List())}, nil)
}

func (s *Server) showOperation(w http.ResponseWriter, r *http.Request) error {
	o, err := s.svc.Operations.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, o.Snapshot(), nil)
}

// followOperation replays the events from the first one, so that a client
// whose connection broke misses none.
func (s *Server) followOperation(w http.ResponseWriter, r *http.Request) error {
	o, err := s.svc.Operations.Get(r.PathValue("id"))
	return s.follow(w, r, o, err)
}

// cancelOperation answers immediately; the operation's events report when it has been
// undone.
func (s *Server) cancelOperation(w http.ResponseWriter, r *http.Request) error {
	if err := s.svc.Operations.Cancel(r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
