package idref

import (
	"strings"
	"testing"

	"banger/api"
)

func TestFind(t *testing.T) {
	ids := []string{"abcd11112222", "abcd11113333", "0123deadbeef", "sha256:feed00000000ffff"}
	for ref, want := range map[string]int{
		"0123": 2, "0123deadbeef": 2, "abcd11112": 0, "feed": 3, "sha256:feed0": 3, "sha256:0123d": 2,
		"012": -1, "": -1, "sha256:": -1, "sha256:fee": -1, "fade": -1, "0123x": -1, "0123D": -1, "0123deadbeef0": -1,
	} {
		got, err := Find("things", ref, ids, func(i int) string { return ids[i] })
		if got != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", ref, got, err, want)
		}
	}
}

func TestAmbiguous(t *testing.T) {
	ids := []string{"abcd11112222", "abcd11113333"}
	got, err := Find("VMs", "abcd1111", ids, func(i int) string { return Label(ids[i], "dev") })
	if got != -1 || api.KindOf(err) != api.KindInvalid ||
		!strings.Contains(err.Error(), `"abcd1111" is the beginning of the ids of 2 VMs: dev (abcd11112222), dev (abcd11113333)`) {
		t.Errorf("%d, %v", got, err)
	}
	many := make([]string, 50)
	for i := range many {
		many[i] = "aaaa"
	}
	if _, err := Find("VMs", "aaaa", many, func(i int) string { return Label(many[i]) }); err == nil || len(err.Error()) > 200 {
		t.Errorf("got %v", err)
	}
}
