package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"banger/api"
)

// TestFormat prints what templates ask for, of VMs with and without it.
func TestFormat(t *testing.T) {
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	full := vm("dev", api.StateRunning)
	full.StartedAt, full.Labels = &started, map[string]string{"team": "web", "a/b": "c"}
	full.Publish = []api.PublishedPort{{Address: "::1", HostPort: 8080, GuestPort: 80, Protocol: "tcp"}}
	full.Next = &api.NextStart{VCPUs: 4}
	bare := api.VM{Name: "x\x1b[2J", MemoryBytes: 1 << 40}
	for format, want := range map[string]string{
		"{{.name}}":             "dev\nx?[2J\n",
		`{{.name}}\t{{.state}}`: "dev\trunning\nx?[2J\t\n",
		"{{.memory_bytes}}":     "1073741824\n1099511627776\n",
		"{{if gt .memory_bytes 2000000000}}large{{else}}small{{end}}": "small\nlarge\n",
		"{{.labels.team}}":                                 "web\n\n",
		`{{index .labels "a/b"}}`:                          "c\n\n",
		"{{range .publish}}{{.host_port}} {{end}}":         "8080 \n\n",
		"{{with index .publish 0}}{{.address}}{{end}}":     "",
		"{{.next.vcpus}}":                                  "4\n\n",
		"{{if .next}}later{{end}}":                         "later\n\n",
		"{{.started_at}}":                                  "2026-01-02T03:04:05Z\n\n",
		"{{json .labels}}":                                 `{"a/b":"c","team":"web"}` + "\n{}\n",
		`{{len .publish}}{{join .publish ","}}{{.reason}}`: "1map[address:::1 guest_port:80 host_port:8080 protocol:tcp]\n0\n",
	} {
		f, err := parseFormat(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		var out bytes.Buffer
		err = f.write(&out, []api.VM{full, bare})
		if want == "" { // that no VM lacks it cannot be known before
			if api.KindOf(err) != api.KindInvalid || !strings.HasPrefix(err.Error(), "cannot use --format for VM x") {
				t.Errorf("%s: %v", format, err)
			}
			continue
		}
		if out.String() != want || err != nil {
			t.Errorf("%s: %q, %v", format, out.String(), err)
		}
	}
}

// TestBadFormats are refused before there is a VM.
func TestBadFormats(t *testing.T) {
	for _, format := range []string{
		"", "name", "{{", "{{.name", "{{.nmae}}", "{{.Name}}", "{{$.nmae}}", "{{nothing .name}}", "{{.name.more}}", "{{range .publish}}{{.port}}{{end}}",
		"{{.next.cpus}}", "{{gt .name 1}}", "{{index .name}}{{template \"x\"}}", "{{end}}", "{{.publish.host_port}}",
	} {
		_, err := parseFormat(format)
		e := api.AsError(err)
		if err == nil || e.Kind != api.KindInvalid || !strings.Contains(e.Hint, "memory_bytes, name, ") || strings.Contains(e.Message, "\n") {
			t.Errorf("%q: %v", format, err)
		}
	}
}
