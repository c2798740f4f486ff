package oci

import (
	"strings"
	"testing"

	"banger/api"
)

const (
	idA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestParseConfig(t *testing.T) {
	i, err := ParseConfig([]byte(`{"architecture":"arm64","os":"linux",
		"config":{"Env":["A=1"],"User":"nobody:nogroup","WorkingDir":"/srv","Entrypoint":["/bin/x"],"Cmd":["y"],
			"StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{},"53/udp":{}},"Labels":{"l":"v"}},
		"rootfs":{"type":"layers","diff_ids":["` + idA + `","` + idB + `"]},
		"history":[{"created":"2024-05-01T00:00:00Z","created_by":"ADD"},{"created_by":"ENV A=1","empty_layer":true},{"created_by":"RUN"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c := i.Config
	if i.Arch != "arm64" || c.User != "nobody:nogroup" || c.WorkingDir != "/srv" || c.StopSignal != "SIGQUIT" || c.Labels["l"] != "v" ||
		strings.Join(c.Env, " ") != "A=1" || strings.Join(c.Entrypoint, " ") != "/bin/x" || strings.Join(c.Cmd, " ") != "y" ||
		strings.Join(c.ExposedPorts, " ") != "53/udp 80/tcp" {
		t.Errorf("got %+v", i)
	}
	if len(i.Layers) != 2 || i.Layers[1].DiffID != idB || i.Layers[1].Size != -1 {
		t.Errorf("layers %+v", i.Layers)
	}
	h := i.History
	if len(h) != 3 || h[0].Layer != idA || h[0].CreatedAt.Year() != 2024 || h[1].Layer != "" || h[1].CreatedAt != nil || h[2].Layer != idB {
		t.Errorf("history %+v", h)
	}
}

// What is only for people to read does no harm, whatever it is.
func TestParseConfigLeniently(t *testing.T) {
	i, err := ParseConfig([]byte(`{"architecture":"x86_64","os":"Linux","created":"","config":{"Volumes":{"/b":{},"/a":{}}},
		"rootfs":{"type":"layers","diff_ids":["` + idA + `"]},
		"history":[{"created":"","created_by":"A"},{"created":7,"created_by":"B"},{"created":"yesterday","empty_layer":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Fits("amd64"); err != nil {
		t.Error(err)
	}
	h := i.History
	if len(h) != 3 || h[0].Layer != idA || h[1].Layer != "" || h[1].CreatedBy != "B" || h[0].CreatedAt != nil || h[2].CreatedAt != nil {
		t.Errorf("history %+v", h)
	}
	if strings.Join(i.Volumes, " ") != "/a /b" {
		t.Errorf("volumes %q", i.Volumes)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "cannot read",
		`{"rootfs":{"type":"magic"}}`: "of type",
		`{"rootfs":{"type":"layers","diff_ids":["sha1:00"]}}`:                 "sha1",
		`{"rootfs":{"diff_ids":["` + idA + `"` + many() + `]}}`:               "more than 512 layers",
		`{"config":{"Env":["` + strings.Repeat("x", 5<<20) + `"]}}`:           "larger than 4 MiB",
		`{"rootfs":{"diff_ids":["sha512:` + strings.Repeat("0", 128) + `"]}}`: "",
	} {
		_, err := ParseConfig([]byte(text))
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %s", text, err, want)
		}
	}
}

func many() string { return strings.Repeat(`,"`+idA+`"`, MaxLayers) }
