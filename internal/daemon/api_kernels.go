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

// kernelHandlers answer requests about kernels.
type kernelHandlers struct {
	*core
	keyed *keyed
}

func (s kernelHandlers) list(w http.ResponseWriter, r *http.Request) error {
	kernels, err := s.svc.Caches.ListKernels()
	return answer(w, api.KernelList{Kernels: orEmpty(kernels)}, err)
}

func (s kernelHandlers) show(w http.ResponseWriter, r *http.Request) error {
	kernel, err := s.svc.Caches.ShowKernel(r.PathValue("kernel"))
	return answer(w, kernel, err)
}

// available has a path of its own: a kernel may be named "available".
func (s kernelHandlers) available(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "refresh")
	if err != nil {
		return err
	}
	refresh, err := strconv.ParseBool(cmp.Or(values["refresh"], "false"))
	if err != nil {
		return api.Errorf(api.KindInvalid, "bad query parameter refresh: %.40q is neither true nor false", values["refresh"])
	}
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	found, err := s.svc.Caches.Kernels.Available(ctx, refresh)
	if errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	found.Kernels = orEmpty(found.Kernels)
	return answer(w, found, err)
}

func (s kernelHandlers) delete(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "kernel.delete"); err != nil {
		return err
	}
	return s.keyed.deleted(w, r, r.PathValue("kernel"), func(ref string) (string, []string, error) {
		kernel, err := s.svc.Caches.Kernels.Get(ref)
		return kernel.Digest, kernel.Names, err
	}, s.svc.Caches.DeleteKernel)
}

func (s kernelHandlers) pull(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.PullKernel](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Caches.PullKernel(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s kernelHandlers) importKernel(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.ImportKernel](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.Caches.ImportKernel(r.Context(), req)
	return s.follow(w, r, o, err)
}
