package daemon

import (
	"strings"
	"testing"

	"banger/api"
)

func TestAnswers(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/v1/daemon", "", `"running":1`},
		{"GET", "/v1/doctor", "", `"name":"qemu"`},
		{"GET", "/v1/leaks", "", `"name":"loop7"`},
		{"GET", "/v1/config", "", `{"file":"config.toml","values":[]}`},
		{"GET", "/v1/vms", "", `{"vms":[{"id":"0123456789ab"`},
		{"GET", "/v1/vms/fox", "", `"name":"fox"`},
		{"POST", "/v1/vms/fox/rename", `{"name":"vixen"}`, `"name":"vixen"`},
		{"POST", "/v1/vms/fox/set", `{"memory_bytes":536870912}`, `"memory_bytes":536870912`},
		{"GET", "/v1/images", "", `{"images":[]}`},
		{"GET", "/v1/images/example.org%2Fdebian:12", "", `"names":["example.org/debian:12"]`},
		{"DELETE", "/v1/images/old", "", ``},
		{"GET", "/v1/kernels", "", `{"kernels":[]}`},
		{"GET", "/v1/kernels/6.1", "", `"release":"6.1"`},
		{"DELETE", "/v1/kernels/6.1", "", ``},
		{"GET", "/v1/operations", "", `{"operations":[]}`},
	} {
		status, body := r.do(c.method, c.path, c.body)
		if status/100 != 2 || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
}

func TestLongWork(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ method, path, body, asked string }{
		{"POST", "/v1/vms", `{"name":"fox"}`, "create fox"},
		{"POST", "/v1/vms", "", "create "},
		{"POST", "/v1/vms/fox/start", "", "start"},
		{"POST", "/v1/vms/fox/stop", `{"grace_seconds":3}`, "stop"},
		{"POST", "/v1/vms/fox/restart", "", "restart"},
		{"POST", "/v1/vms/fox/kill", "", "kill"},
		{"DELETE", "/v1/vms/fox", "", "delete"},
		{"DELETE", "/v1/vms/fox?force=1", "", "delete --force"},
		{"POST", "/v1/vms/fox/start", `{"force": true}`, "start --force"},
		{"POST", "/v1/vms/fox/restart", `{"force": true}`, "restart --force"},
		{"DELETE", "/v1/vms/fox?force=0", "", "delete"},
		{"POST", "/v1/vms/fox/commit", `{"name":"den"}`, "commit den"},
		{"POST", "/v1/vms/prune", "", "prune"},
		{"POST", "/v1/images/pull", `{"name":"debian"}`, "pull debian"},
		{"POST", "/v1/images/import", `{"path":"/x.tar","name":"x"}`, "import /x.tar"},
		{"POST", "/v1/images/prune", "", "prune"},
		{"POST", "/v1/kernels/pull", "", "pull kernel"},
		{"POST", "/v1/kernels/import", `{"host":true}`, "import kernel"},
	} {
		status, body := r.do(c.method, c.path, c.body)
		if asked := <-r.fake.work.asked; status != 200 || asked != c.asked {
			t.Errorf("%s %s: %d, asked %q", c.method, c.path, status, asked)
		}
		all := events(t, strings.NewReader(body))
		last := all[len(all)-1]
		if all[0].Operation == nil || last.Operation == nil || last.Operation.Status != api.OpDone || last.Result == nil {
			t.Errorf("%s %s: %s", c.method, c.path, body)
		}
		id := all[0].Operation.ID
		_, again := r.do("GET", "/v1/operations/"+id+"/events", "")
		if replay := events(t, strings.NewReader(again)); len(replay) < 2 || replay[len(replay)-1].Result == nil {
			t.Errorf("the replay lacks something: %s", again)
		}
		if _, one := r.do("GET", "/v1/operations/"+id, ""); !strings.Contains(one, `"status":"done"`) {
			t.Errorf("operation %s: %s", id, one)
		}
	}
}
