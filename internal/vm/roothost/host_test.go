package roothost

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"slices"
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

func TestAddresses(t *testing.T) {
	vms := []api.VM{{ID: "0123456789ab", Slot: 1}, {ID: "0123456789ac", Slot: 1 << 20}, {ID: "0123456789ad", Slot: 2}}
	if got := (Host{Helper: fakeHelper{}}).Addresses(t.Context(), vms); !slices.Equal(got, []string{"10.213.0.3", "", "10.213.0.5"}) {
		t.Errorf("%q", got)
	}
	if got := (Host{Helper: fakeHelper{errors.New("away")}}).Addresses(t.Context(), vms); !slices.Equal(got, make([]string, 3)) {
		t.Errorf("%q", got)
	}
}
