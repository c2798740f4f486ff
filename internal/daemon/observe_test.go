package daemon

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"banger/api"
)

func TestObserverRoutes(t *testing.T) {
	r := newRig(t)
	for path, names := range map[string]int{"/v1/stats": 0, "/v1/stats?vm=fox": 1, "/v1/stats?vm=fox&vm=nobody&vm=fox": 3} {
		status, body := r.do(http.MethodGet, path, "")
		var list api.StatsList
		if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK || len(list.Stats) != names || list.Stats == nil {
			t.Errorf("%s: %d %s, %v", path, status, body, err)
		}
	}
	r.fails(http.StatusBadRequest, api.KindInvalid, http.MethodGet, "/v1/stats?name=fox", "")
	if status, body := r.do(http.MethodGet, "/v1/vms/fox/health", ""); status != http.StatusOK || !strings.Contains(body, `"well":true`) {
		t.Error(status, body)
	}
	r.fails(http.StatusNotFound, api.KindNotFound, http.MethodGet, "/v1/vms/nobody/health", "")
}

// TestSignalRoute: what does not end a VMM is refused before anything is asked of the VM.
func TestSignalRoute(t *testing.T) {
	r := newRig(t)
	for body, want := range map[string]string{`{"signal":"SIGTERM"}`: "signal TERM", `{"signal":"6"}`: "signal ABRT"} {
		if status, answer := r.do(http.MethodPost, "/v1/vms/fox/signal", body); status != http.StatusOK {
			t.Error(status, answer)
		}
		if got := <-r.fake.work.asked; got != want {
			t.Errorf("%s: %s", body, got)
		}
	}
	for _, bad := range []string{`{"signal":"STOP"}`, `{"signal":"19"}`, `{"signal":15}`, `{"signal":""}`, `{}`, ``, `{"signal":"TERM","pid":1}`} {
		r.fails(http.StatusBadRequest, api.KindInvalid, http.MethodPost, "/v1/vms/fox/signal", bad)
	}
	select {
	case got := <-r.fake.work.asked:
		t.Errorf("a refused signal: %s", got)
	default:
	}
}
