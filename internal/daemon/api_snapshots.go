package daemon

import (
	"net/http"

	"banger/api"
	"banger/internal/installlock/hold"
)

// snapshotHandlers answer requests about snapshots.
type snapshotHandlers struct {
	*core
	keyed *keyed
}

func (h snapshotHandlers) create(w http.ResponseWriter, r *http.Request) error {
	req, err := decode[api.SnapshotVM](w, r)
	if err != nil {
		return err
	}
	o, err := h.svc.Snapshots.Snapshot(r.Context(), r.PathValue("vm"), req)
	return h.follow(w, r, o, err)
}

func (h snapshotHandlers) list(w http.ResponseWriter, _ *http.Request) error {
	all, err := h.svc.Snapshots.List()
	return answer(w, api.SnapshotList{Snapshots: orEmpty(all)}, err)
}

func (h snapshotHandlers) show(w http.ResponseWriter, r *http.Request) error {
	found, err := h.svc.Snapshots.Show(r.PathValue("snapshot"))
	return answer(w, found, err)
}

func (h snapshotHandlers) delete(w http.ResponseWriter, r *http.Request) error {
	if err := hold.Check(h.hold, "snapshot.delete"); err != nil {
		return err
	}
	return h.keyed.deleted(w, r, r.PathValue("snapshot"), func(ref string) (string, []string, error) {
		found, err := h.svc.Snapshots.Show(ref)
		return found.ID, nil, err
	}, h.svc.Snapshots.Delete)
}
