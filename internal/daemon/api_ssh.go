package daemon

import "net/http"

func (s *Server) sshVM(w http.ResponseWriter, r *http.Request) error {
	access, err := s.svc.VMs.SSHAccess(r.Context(), r.PathValue("vm"))
	return answer(w, access, err)
}
