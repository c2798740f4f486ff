package daemon

import (
	"net/http"

	"banger/api"
)

func (s *Server) getDoctor(w http.ResponseWriter, r *http.Request) error {
	return answer(w, api.Doctor{Checks: orEmpty(s.svc.Doctor(r.Context()))}, nil)
}

func (s *Server) getLeaks(w http.ResponseWriter, r *http.Request) error {
	found, err := s.svc.VMs.Leaks(r.Context())
	return answer(w, found, err)
}
