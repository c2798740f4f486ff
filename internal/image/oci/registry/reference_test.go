package registry

import (
	"strings"
	"testing"

	"banger/api"
)

const sum = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestParse(t *testing.T) {
	for text, want := range map[string][3]string{
		"alpine":                                {"docker.io/library/alpine:latest", "alpine:latest", "docker.io"},
		"alpine:3.20":                           {"docker.io/library/alpine:3.20", "alpine:3.20", "docker.io"},
		"docker.io/alpine":                      {"docker.io/library/alpine:latest", "alpine:latest", "docker.io"},
		"docker.io/library/alpine":              {"docker.io/library/alpine:latest", "alpine:latest", "docker.io"},
		"index.docker.io/a/b:1":                 {"docker.io/a/b:1", "a/b:1", "docker.io"},
		"grafana/grafana":                       {"docker.io/grafana/grafana:latest", "grafana/grafana:latest", "docker.io"},
		"registry.example.com/owner/image:tag":  {"registry.example.com/owner/image:tag", "registry.example.com/owner/image:tag", "registry.example.com"},
		"localhost:5000/a":                      {"localhost:5000/a:latest", "localhost:5000/a:latest", "localhost:5000"},
		"[::1]:5000/a":                          {"[::1]:5000/a:latest", "[::1]:5000/a:latest", "[::1]:5000"},
		"alpine@" + sum:                         {"docker.io/library/alpine@" + sum, "alpine@" + sum, "docker.io"},
		"images.example.org/a/b:tag@" + sum:     {"images.example.org/a/b@" + sum, "images.example.org/a/b@" + sum, "images.example.org"},
		"Registry.Example.COM:5000/a:Tag":       {"registry.example.com:5000/a:Tag", "registry.example.com:5000/a:Tag", "registry.example.com:5000"},
		"LOCALHOST/a":                           {"localhost/a:latest", "localhost/a:latest", "localhost"},
		"docker.io/foo.example/app:1":           {"docker.io/foo.example/app:1", "docker.io/foo.example/app:1", "docker.io"},
		"docker.io/localhost/app":               {"docker.io/localhost/app:latest", "docker.io/localhost/app:latest", "docker.io"},
		"docker.io/library/foo/bar":             {"docker.io/library/foo/bar:latest", "library/foo/bar:latest", "docker.io"},
		"registry.example:5000/deep/er/path:v1": {"registry.example:5000/deep/er/path:v1", "registry.example:5000/deep/er/path:v1", "registry.example:5000"},
	} {
		r, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := [3]string{r.String(), r.Familiar(), r.Registry()}; got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
		if again, err := Parse(r.Familiar()); err != nil || again.String() != r.String() {
			t.Errorf("%s is %s, which is %v, %v", text, r.Familiar(), again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "it has to be name",
		"https://registry.example.com/a/b": `remove what is before "registry.example.com/a/b"`,
		"docker://alpine":                  "remove what is before",
		"Alpine":                           "lower case",
		"alpine:":                          "it has to be name",
		"alpine@sha256:00":                 "it has to be name",
		strings.Repeat("a1", 32):           "it is a digest",
		"-a":                               "it has to be name", "a..b": "it has to be name", "a/-b": "it has to be name", "a_": "it has to be name",
		"sha256:1234":   "it is a digest",
		"a b":           "it has to be name",
		"../etc/passwd": "a file", "/root.tar": "a file",
		"alpine:\x1b[31m":                    "it has to be name",
		strings.Repeat("a", 600):             "too long",
		"alpine:" + strings.Repeat("x", 129): "it has to be name",
	} {
		_, err := Parse(text)
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
		if err != nil && api.AsError(err).Hint == "" {
			t.Errorf("%.40q: nothing to type", text)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "a.localhost": true, "A.LocalHost:80": true, "a.localhost.": true, "127.0.0.1": true, "127.8.9.1:80": true, "[::1]:5000": true,
		"10.0.0.1:5000": false, "192.168.1.1": false, "printer.local": false, "localhost.example": false, "docker.io": false,
		"127.0.0.1.example:5000": false, "": false,
	} {
		if got := loopback(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

// FuzzParse holds that what is read is read the same way again.
func FuzzParse(f *testing.F) {
	f.Add("alpine:3.20")
	f.Add("localhost:5000/a/b@" + sum)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		for _, written := range []string{r.String(), r.Familiar()} {
			again, err := Parse(written)
			if err != nil || again.String() != r.String() {
				t.Errorf("%q is %s, %s is %v, %v", text, r, written, again, err)
			}
		}
	})
}
