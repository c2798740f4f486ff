package guest

import (
	"errors"
	"io"
	"testing"

	"banger/api"
)

// TestPermanent: an answer of the daemon's can be final, that it could not be reached is
// not, whatever it was for.
func TestPermanent(t *testing.T) {
	for _, kind := range []api.Kind{api.KindConflict, api.KindDenied, api.KindUnsupported, api.KindInvalid, api.KindNotFound} {
		err := api.Errorf(kind, "no")
		if !permanent(err) || permanent(Unreached(err)) {
			t.Errorf("%s: %v, unreached %v", kind, permanent(err), permanent(Unreached(err)))
		}
		if e := api.AsError(Unreached(err)); e.Kind != kind || e.Message != "no" {
			t.Errorf("%s: %+v", kind, e)
		}
	}
	if permanent(io.EOF) || permanent(api.Errorf(api.KindTimeout, "later")) || Unreached(nil) != nil || !errors.Is(Unreached(io.EOF), io.EOF) {
		t.Error("what may pass is final")
	}
}
