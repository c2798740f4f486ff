package daemon

import (
	"io"
	"net/http"
	"os"

	"banger/api"
)

// logsVM answers with what the guest's console said.
func (s *Server) logsVM(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r, "follow", "tail"); err != nil {
		return err
	}
	path, _, err := s.svc.VMs.ConsolePath(r.Context(), r.PathValue("vm"))
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read console: %w", err)
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.Copy(w, f)
	return err
}
