package roothost

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"testing"

	"banger/api"
	"banger/internal/rootapi"
)

// fakeHelper answers hello, or fails.
type fakeHelper struct{ err error }

func (f fakeHelper) Do(_ context.Context, call rootapi.Call, answer any, _ ...*os.File) ([]*os.File, error) {
	if f.err != nil {
		return nil, f.err
	}
	data, err := json.Marshal(rootapi.HelloAnswer{Outer: netip.MustParsePrefix("10.213.0.0/16")})
	if err != nil {
		return nil, err
	}
	return nil, json.Unmarshal(data, answer)
}

func TestAddress(t *testing.T) {
	v := api.VM{ID: "0123456789ab", Slot: 1}
	if got := (Host{Helper: fakeHelper{}}).Address(t.Context(), v); got != "10.213.0.3" {
		t.Errorf("%q", got)
	}
	if got := (Host{Helper: fakeHelper{errors.New("away")}}).Address(t.Context(), v); got != "" {
		t.Errorf("%q", got)
	}
}
