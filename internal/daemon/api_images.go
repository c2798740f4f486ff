package daemon

import (
	"net/http"

	"banger/api"
	"banger/internal/update/hold"
)

func (s *Server) listImages(w http.ResponseWriter, r *http.Request) error {
	images, err := s.svc.Images.List(r.Context())
	return answer(w, api.ImageList{Images: orEmpty(images)}, err)
}

func (s *Server) showImage(w http.ResponseWriter, r *http.Request) error {
	image, err := s.svc.Images.Show(r.Context(), r.PathValue("image"))
	return answer(w, image, err)
}

func (s *Server) deleteImage(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "image.delete"); err != nil {
		return err
	}
	if err := s.svc.Images.Delete(r.Context(), r.PathValue("image")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) pullImage(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.PullImage](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Images.Pull(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s *Server) importImage(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.ImportImage](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Images.Import(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s *Server) tagImage(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "image.tag"); err != nil {
		return err
	}
	req, err := decode[api.TagImage](w, r)
	if err != nil {
		return err
	}
	image, err := s.svc.Images.Tag(r.Context(), req)
	return answer(w, image, err)
}

func (s *Server) imageHistory(w http.ResponseWriter, r *http.Request) error {
	history, err := s.svc.Images.History(r.Context(), r.PathValue("image"))
	return answer(w, api.ImageHistoryList{History: orEmpty(history)}, err)
}

func (s *Server) pruneImages(w http.ResponseWriter, r *http.Request) error {
	o, err := s.svc.Images.Prune(r.Context())
	return s.follow(w, r, o, err)
}
