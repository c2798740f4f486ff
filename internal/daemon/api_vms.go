package daemon

import (
	"net/http"

	"banger/api"
	"banger/internal/installlock/hold"
)

func (s *Server) listVMs(w http.ResponseWriter, r *http.Request) error {
	vms, err := s.svc.VMs.List(r.Context())
	return answer(w, api.VMList{VMs: orEmpty(vms)}, err)
}

func (s *Server) createVM(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.CreateVM](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.VMs.Create(r.Context(), req)
	return s.follow(w, r, o, err)
}

func (s *Server) showVM(w http.ResponseWriter, r *http.Request) error {
	vm, err := s.svc.VMs.Show(r.Context(), r.PathValue("vm"))
	return answer(w, vm, err)
}

func (s *Server) deleteVM(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "force")
	if err != nil {
		return err
	}
	force, err := yesNo(values, "force")
	if err != nil {
		return err
	}
	o, err := s.svc.VMs.Delete(r.Context(), r.PathValue("vm"), force)
	return s.follow(w, r, o, err)
}

func (s *Server) startVM(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.StartVM](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.VMs.Start(r.Context(), r.PathValue("vm"), req)
	return s.follow(w, r, o, err)
}

func (s *Server) stopVM(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.StopVM](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.VMs.Stop(r.Context(), r.PathValue("vm"), req)
	return s.follow(w, r, o, err)
}

func (s *Server) restartVM(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.StartVM](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.VMs.Restart(r.Context(), r.PathValue("vm"), req)
	return s.follow(w, r, o, err)
}

func (s *Server) killVM(w http.ResponseWriter, r *http.Request) error {
	o, err := s.svc.VMs.Kill(r.Context(), r.PathValue("vm"))
	return s.follow(w, r, o, err)
}

func (s *Server) commitVM(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.CommitVM](w, r)
	if err != nil {
		return err
	}
	o, err := s.svc.VMs.Commit(r.Context(), r.PathValue("vm"), req)
	return s.follow(w, r, o, err)
}

func (s *Server) renameVM(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "vm.rename"); err != nil {
		return err
	}
	req, err := decode[api.RenameVM](w, r)
	if err != nil {
		return err
	}
	vm, err := s.svc.VMs.Rename(r.Context(), r.PathValue("vm"), req.Name)
	return changed(w, r, vm, err)
}

func (s *Server) setVM(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "vm.set"); err != nil {
		return err
	}
	req, err := decode[api.SetVM](w, r)
	if err != nil {
		return err
	}
	vm, err := s.svc.VMs.Set(r.Context(), r.PathValue("vm"), req)
	return changed(w, r, vm, err)
}

func (s *Server) publishVM(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(s.hold, "vm.publish"); err != nil {
		return err
	}
	req, err := decode[api.PublishVM](w, r)
	if err != nil {
		return err
	}
	vm, err := s.svc.VMs.Publish(r.Context(), r.PathValue("vm"), req)
	return changed(w, r, vm, err)
}

// waitVM answers when the VM is not running any more, without a time limit.
func (s *Server) waitVM(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	vm, err := s.svc.VMs.Wait(ctx, r.PathValue("vm"))
	return answer(w, vm, err)
}

func (s *Server) pruneVMs(w http.ResponseWriter, r *http.Request) error {
	o, err := s.svc.VMs.Prune(r.Context())
	return s.follow(w, r, o, err)
}
