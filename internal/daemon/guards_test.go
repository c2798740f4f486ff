package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"banger/api"
)

func TestOwner(t *testing.T) {
	for _, c := range []struct {
		peer peer
		self int
		want bool
	}{
		{peer{uid: 1000}, 1000, true},
		{peer{uid: 0}, 1000, true},
		{peer{uid: 1001}, 1000, false},
		{peer{uid: 65534}, 0, false},
		{peer{uid: 0}, 0, true},
		{peer{uid: 1000, err: errors.New("no credentials")}, 1000, false},
	} {
		if got := owner(c.peer, c.self); got != c.want {
			t.Errorf("%+v may use the daemon of %d: %v", c.peer, c.self, got)
		}
	}
}

func TestWrongPeerIsRefused(t *testing.T) {
	nobody := func(peer, int) bool { return false }
	r, _ := http.NewRequest("GET", "http://localhost/", nil)
	err := checkPeer(r, nobody)
	if api.KindOf(err) != api.KindDenied || !strings.Contains(err.Error(), "cannot tell") {
		t.Errorf("without credentials: %v", err)
	}
	rig := newRig(t)
	status, _ := rig.do("GET", "/v1/vms", "")
	if status != 200 {
		t.Errorf("user %d is refused by its own daemon: %d", os.Getuid(), status)
	}
}

func TestBrowserShapedRequestsAreRefused(t *testing.T) {
	r := newRig(t)
	for _, header := range [][]string{
		{"Origin", "null"},
		{"Origin", "http://localhost"},
		{"Referer", "http://example.org/"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Host", "example.org"},
		{"Host", "localhost:8080"},
		{"Host", "127.0.0.1"},
	} {
		r.fails(403, api.KindDenied, "GET", "/v1/vms", "", header...)
		r.fails(403, api.KindDenied, "POST", "/v1/vms/prune", "", header...)
	}
	for _, host := range []string{"localhost", "banger", "bangerd"} {
		if status, _ := r.do("GET", "/v1/vms", "", "Host", host); status != 200 {
			t.Errorf("host %q: %d", host, status)
		}
	}
}

func TestBadRequests(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		kind               api.Kind
		say                string
	}{
		{"POST", "/v1/vms", `{`, 400, api.KindInvalid, "unexpected EOF"},
		{"POST", "/v1/vms", `[]`, 400, api.KindInvalid, "array"},
		{"POST", "/v1/vms", `{"nmae":"x"}`, 400, api.KindInvalid, "nmae"},
		{"POST", "/v1/vms", `{"vcpus":"two"}`, 400, api.KindInvalid, "vcpus"},
		{"POST", "/v1/vms", `{} {}`, 400, api.KindInvalid, "more than one"},
		{"POST", "/v1/vms", `{}x`, 400, api.KindInvalid, "invalid character"},
		{"POST", "/v1/vms", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 400, api.KindInvalid, "more than 1048576 bytes"},
		{"POST", "/v1/vms", "{}" + strings.Repeat(" ", 2<<20), 400, api.KindInvalid, "more than 1048576 bytes"},
		{"DELETE", "/v1/vms/fox?force=perhaps", "", 400, api.KindInvalid, "force"},
		{"DELETE", "/v1/vms/fox?farce=1", "", 400, api.KindInvalid, "farce"},
		{"DELETE", "/v1/vms/fox?force=1&force=0", "", 400, api.KindInvalid, "force"},
		{"GET", "/v1/vms/fox/logs?tail=-1", "", 400, api.KindInvalid, "tail"},
		{"GET", "/v1/vms/fox/logs?tail=many", "", 400, api.KindInvalid, "tail"},
		{"GET", "/v1/vms/cat", "", 404, api.KindNotFound, "cat"},
		{"POST", "/v1/vms/cat/start", "", 404, api.KindNotFound, "cat"},
		{"GET", "/v1/vms/cat/wait", "", 404, api.KindNotFound, "cat"},
		{"GET", "/v1/vms/cat/logs", "", 404, api.KindNotFound, "cat"},
		{"POST", "/v1/vms/fox/stream", "", 400, api.KindInvalid, "Upgrade"},
		{"DELETE", "/v1/images/used", "", 409, api.KindConflict, "fox"},
		{"GET", "/v1/operations/0123", "", 404, api.KindNotFound, "0123"},
		{"GET", "/v1/operations/0123/events", "", 404, api.KindNotFound, "0123"},
		{"DELETE", "/v1/operations/0123", "", 404, api.KindNotFound, "0123"},
		{"GET", "/", "", 404, api.KindNotFound, "no such path"},
		{"GET", "/v2/vms", "", 404, api.KindNotFound, "/v2/vms"},
		{"GET", "/v1/vms/", "", 404, api.KindNotFound, "no such path"},
		{"GET", "/v1//vms", "", 404, api.KindNotFound, "no such path"},
		{"GET", "/v1/vms/../config", "", 404, api.KindNotFound, "no such path"},
		{"PUT", "/v1/vms", "", 405, api.KindInvalid, "GET, POST"},
		{"POST", "/v1/daemon", "", 405, api.KindInvalid, "GET"},
		{"OPTIONS", "/v1/vms/fox", "", 405, api.KindInvalid, "DELETE, GET"},
		{"GET", "/v1/vms/fox/start", "", 405, api.KindInvalid, "POST"},
	} {
		e := r.fails(c.status, c.kind, c.method, c.path, c.body)
		if !strings.Contains(e.Message, c.say) {
			t.Errorf("%s %s: %q does not say %q", c.method, c.path, e.Message, c.say)
		}
	}
	select {
	case asked := <-r.fake.work.asked:
		t.Errorf("a bad request did something: %s", asked)
	default:
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	r := newRig(t)
	e := r.fails(500, api.KindInternal, "GET", "/v1/vms/boom", "")
	if !strings.Contains(e.Message, "boom") {
		t.Errorf("%+v", e)
	}
	if status, _ := r.do("GET", "/v1/vms/fox", ""); status != 200 {
		t.Errorf("after a panic: %d", status)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind api.Kind
	}{
		{fmt.Errorf("outer: %w", api.Errorf(api.KindNoSpace, "inner")), api.KindNoSpace},
		{errors.New("plain"), api.KindInternal},
	} {
		if got := api.AsError(c.err); got.Kind != c.kind || got.Message != c.err.Error() {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
}
