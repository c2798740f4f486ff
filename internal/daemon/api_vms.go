package daemon

import (
	"net/http"

	"banger/api"
	"banger/internal/installlock/hold"
)

// vmHandlers answer requests about VMs.
type vmHandlers struct{ *core }

func (h vmHandlers) list(w http.ResponseWriter, r *http.Request) error {
	vms, err := h.svc.VMs.List(r.Context())
	return answer(w, api.VMList{VMs: orEmpty(vms)}, err)
}

func (h vmHandlers) create(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.CreateVM](w, r)
	if err != nil {
		return err
	}
	o, err := h.svc.Lifecycle.Create(r.Context(), req)
	return h.follow(w, r, o, err)
}

func (h vmHandlers) show(w http.ResponseWriter, r *http.Request) error {
	vm, err := h.svc.VMs.Show(r.Context(), r.PathValue("vm"))
	return answer(w, vm, err)
}

func (h vmHandlers) delete(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "force")
	if err != nil {
		return err
	}
	force, err := yesNo(values, "force")
	if err != nil {
		return err
	}
	o, err := h.svc.Lifecycle.Delete(r.Context(), r.PathValue("vm"), force)
	return h.follow(w, r, o, err)
}

func (h vmHandlers) start(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.StartVM](w, r)
	if err != nil {
		return err
	}
	o, err := h.svc.Lifecycle.Start(r.Context(), r.PathValue("vm"), req)
	return h.follow(w, r, o, err)
}

func (h vmHandlers) stop(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.StopVM](w, r)
	if err != nil {
		return err
	}
	o, err := h.svc.Lifecycle.Stop(r.Context(), r.PathValue("vm"), req)
	return h.follow(w, r, o, err)
}

func (h vmHandlers) restart(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.StartVM](w, r)
	if err != nil {
		return err
	}
	o, err := h.svc.Lifecycle.Restart(r.Context(), r.PathValue("vm"), req)
	return h.follow(w, r, o, err)
}

func (h vmHandlers) kill(w http.ResponseWriter, r *http.Request) error {
	o, err := h.svc.Lifecycle.Kill(r.Context(), r.PathValue("vm"))
	return h.follow(w, r, o, err)
}

// signal is a request of its own: an older daemon reads no body of a kill, and would send SIGKILL.
func (h vmHandlers) signal(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.SignalVM](w, r)
	if err != nil {
		return err
	}
	sig, err := api.ParseSignal(req.Signal)
	if err != nil {
		return err
	}
	o, err := h.svc.Signals.Signal(r.Context(), r.PathValue("vm"), sig)
	return h.follow(w, r, o, err)
}

func (h vmHandlers) pause(w http.ResponseWriter, r *http.Request) error {
	o, err := h.svc.Pauses.Pause(r.Context(), r.PathValue("vm"))
	return h.follow(w, r, o, err)
}

func (h vmHandlers) resume(w http.ResponseWriter, r *http.Request) error {
	o, err := h.svc.Pauses.Resume(r.Context(), r.PathValue("vm"))
	return h.follow(w, r, o, err)
}

func (h vmHandlers) suspend(w http.ResponseWriter, r *http.Request) error {
	o, err := h.svc.Pauses.Suspend(r.Context(), r.PathValue("vm"))
	return h.follow(w, r, o, err)
}

func (h vmHandlers) commit(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.CommitVM](w, r)
	if err != nil {
		return err
	}
	o, err := h.svc.Lifecycle.Commit(r.Context(), r.PathValue("vm"), req)
	return h.follow(w, r, o, err)
}

func (h vmHandlers) rename(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(h.hold, "vm.rename"); err != nil {
		return err
	}
	req, err := decode[api.RenameVM](w, r)
	if err != nil {
		return err
	}
	vm, err := h.svc.Changes.Rename(r.Context(), r.PathValue("vm"), req.Name)
	return changed(w, r, vm, err)
}

func (h vmHandlers) set(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(h.hold, "vm.set"); err != nil {
		return err
	}
	req, err := decode[api.SetVM](w, r)
	if err != nil {
		return err
	}
	vm, err := h.svc.Changes.Set(r.Context(), r.PathValue("vm"), req)
	return changed(w, r, vm, err)
}

func (h vmHandlers) publish(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(h.hold, "vm.publish"); err != nil {
		return err
	}
	req, err := decode[api.PublishVM](w, r)
	if err != nil {
		return err
	}
	vm, err := h.svc.Changes.Publish(r.Context(), r.PathValue("vm"), req)
	return changed(w, r, vm, err)
}

// wait answers when the VM is not running any more, without a time limit.
func (h vmHandlers) wait(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := h.untilStop(r.Context())
	defer cancel()
	vm, err := h.svc.VMs.Wait(ctx, r.PathValue("vm"))
	return answer(w, vm, err)
}

func (h vmHandlers) prune(w http.ResponseWriter, r *http.Request) error {
	o, err := h.svc.Lifecycle.Prune(r.Context())
	return h.follow(w, r, o, err)
}
