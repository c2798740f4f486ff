package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
	"banger/internal/installlock/hold"
)

// TestHold: what changes something and is no operation is refused while an update
// is being proven; the rest is answered.
func TestHold(t *testing.T) {
	r := newRig(t)
	path := r.env.Paths.Hold()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := hold.Make(path, "v1.1.0", 0)
	if err != nil {
		t.Fatal(err)
	}
	r.fails(409, api.KindConflict, "POST", "/v1/vms/dev/rename", `{"name":"other"}`)
	r.fails(409, api.KindConflict, "DELETE", "/v1/images/debian", "")
	r.fails(409, api.KindConflict, "DELETE", "/v1/kernels/default", "")
	for _, path := range []string{"/v1/vms", "/v1/daemon", "/v1/operations"} {
		if status, _ := r.do("GET", path, ""); status != 200 {
			t.Errorf("%s: status %d", path, status)
		}
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if status, _ := r.do("POST", "/v1/vms/dev/rename", `{"name":"other"}`); status == 409 {
		t.Error("the hold is over and still holds")
	}
}
