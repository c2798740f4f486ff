package daemon

import (
	"net/http"

	"banger/api"
)

func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) error {
	list, err := s.svc.VMs.Sessions(r.Context(), r.PathValue("vm"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, api.SessionList{Sessions: list})
	return nil
}
