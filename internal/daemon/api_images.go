package daemon

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"

	"banger/api"
	"banger/internal/installlock/hold"
)

// imageHandlers answer requests about images.
type imageHandlers struct {
	*core
	keyed *keyed
}

func (s imageHandlers) list(w http.ResponseWriter, r *http.Request) error {
	images, err := s.svc.Caches.ListImages()
	return answer(w, api.ImageList{Images: orEmpty(images)}, err)
}

func (s imageHandlers) show(w http.ResponseWriter, r *http.Request) error {
	image, err := s.svc.Caches.ShowImage(r.PathValue("image"))
	return answer(w, image, err)
}

func (s imageHandlers) delete(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "image.delete"); err != nil {
		return err
	}
	return s.keyed.deleted(w, r, r.PathValue("image"), func(ref string) (string, []string, error) {
		image, err := s.svc.Caches.Images.Get(ref)
		return image.Digest, image.Names, err
	}, func(ref string) error { return s.svc.Caches.Images.Delete(ref, s.svc.Caches.Use.InUse) })
}

func (s imageHandlers) pull(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.PullImage](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Caches.PullImage(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s imageHandlers) importImage(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.ImportImage](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Caches.ImportImage(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s imageHandlers) register(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.RegisterImage](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Caches.RegisterImage(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s imageHandlers) promote(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.PromoteImage](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Caches.PromoteImage(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s imageHandlers) tag(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "image.tag"); err != nil {
		return err
	}
	req, err := decode[api.TagImage](w, r)
	if err != nil {
		return err
	}
	image, err := s.svc.Caches.TagImage(req)
	return changed(w, r, image, err)
}

func (s imageHandlers) history(w http.ResponseWriter, r *http.Request) error {
	history, err := s.svc.Caches.Images.History(r.PathValue("image"))
	return answer(w, api.ImageHistoryList{History: orEmpty(history)}, err)
}

// export answers with an image as an archive or a file. Its length is known
// before: an answer that ends early is noticed, whoever reads it.
func (s imageHandlers) export(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "format")
	if err != nil {
		return err
	}
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	e, err := s.svc.Caches.Exports.Export(ctx, r.PathValue("image"), cmp.Or(values["format"], api.ExportOCI))
	if errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	if err != nil {
		return err
	}
	defer e.Close()
	kind := "application/x-tar"
	if values["format"] == api.ExportExt4 {
		kind = "application/octet-stream"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.FormatInt(e.Size(), 10))
	w.Header().Set(api.LeftOutHeader, strconv.Itoa(e.LeftOut()))
	if err := e.Write(ctx, w); err != nil {
		if ctx.Err() == nil {
			s.log.Error("an export broke off", "image", r.PathValue("image"), "error", err)
		}
		return err
	}
	return nil
}

// prunable has a path of its own: a daemon that does not know it must not prune instead.
func (s imageHandlers) prunable(w http.ResponseWriter, _ *http.Request) error {
	pruned, err := s.svc.Caches.Prunable()
	return answer(w, pruned, err)
}

func (s imageHandlers) prune(w http.ResponseWriter, r *http.Request) error {
	o, err := s.svc.Caches.Prune(r.Context())
	return s.follow(w, r, o, err)
}
