package devcontainer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/size"
	"banger/internal/workspace/jsonc"
	"banger/internal/workspace/project"

	"github.com/google/go-cmp/cmp"
)

const whole = `// a comment, with "quotes" and , ]
{
	"name": "x \" // ,]", /* of
	several lines */ "$schema": "y",
	"image": "mcr.example.com/devcontainers/go:1.26", // "image": "no"
	"features": {"ghcr.io/a/b:1": {}, "https://x.example/devcontainer-feature-x.tgz": {}, "./.devcontainer/x": "3"}, "overrideFeatureInstallOrder": ["b", "ghcr.io/a/b"],
	"containerEnv": {
		"A": "1", "DIR": "${containerWorkspaceFolder}/x // no comment", "TOKEN": "${localEnv:TOKEN}",
		"OTHER": "${localEnv:TOKEN}", "PATH": "${containerEnv:PATH}:/x", "A B": "1", "N": 3,
	},
	"remoteEnv": {"A": "2", "NONE": null},
	"containerUser": "root",
	"onCreateCommand": "cd ${containerWorkspaceFolder} && echo ${HOME}",
	"updateContentCommand": ["npm", "ci", "-q"],
	"postCreateCommand": {"b": "make", "a": ["x", "y z"], "c": ""},
	"postStartCommand": "service start",
	"postAttachCommand": "y",
	"initializeCommand": "rm -rf ~",
	"forwardPorts": [3000, "8080:80", 80, "db:5432", 99999, "3000", 3000],
	"portsAttributes": {"3000": {}},
	"hostRequirements": {"cpus": 4, "memory": "8GB", "storage": "32gb", "gpu": "optional"},
	"remoteUser": "vscode",
	"workspaceFolder": "/workspaces/app",
	"customizations": {"vscode": {"extensions": ["a",]}},
	"somethingNew": true,
	"mounts": [],
}
`

func TestParse(t *testing.T) {
	got, err := Parse("/home/me/app", ".devcontainer.json", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	su := func(argv ...string) project.Command {
		return append(project.Command{"su", "-s", "/bin/sh", "-c", `exec "$0" "$@"`, "--", "vscode"}, argv...)
	}
	want := Result{
		File: ".devcontainer.json",
		Config: project.Config{
			Image: "mcr.example.com/devcontainers/go:1.26", VCPUs: 4, MemoryBytes: 8 * size.GiB, DiskBytes: 32 * size.GiB,
			Workdir: "/workspaces/app", User: "vscode", HostEnv: []string{"TOKEN"},
			Env: map[string]string{"A": "2", "DIR": "/workspaces/app/x // no comment"},
			Ports: []api.PublishedPort{
				{Address: "127.0.0.1", HostPort: 3000, GuestPort: 3000, Protocol: "tcp"},
				{Address: "127.0.0.1", HostPort: 8080, GuestPort: 80, Protocol: "tcp"},
				{Address: "127.0.0.1", HostPort: 0, GuestPort: 80, Protocol: "tcp"},
			},
			Setup: []project.Command{
				su("/bin/sh", "-c", "cd /workspaces/app && echo ${HOME}"), su("npm", "ci", "-q"), su("x", "y z"), su("/bin/sh", "-c", "make"),
			},
		},
		Hooks: Hooks{
			OnCreate: []project.Command{su("/bin/sh", "-c", "cd /workspaces/app && echo ${HOME}")}, UpdateContent: []project.Command{su("npm", "ci", "-q")},
			PostCreate: []project.Command{su("x", "y z"), su("/bin/sh", "-c", "make")}, PostStart: []project.Command{su("/bin/sh", "-c", "service start")},
		},
		ContainerUser: "root",
		NotApplied: []Skipped{
			{"features", 6, `"https://x.example/devcontainer-feature-x.tgz": a feature from a web address is not installed: name it in a registry, or copy it into .devcontainer`},
			{"overrideFeatureInstallOrder", 6, `"b": it is not REGISTRY/NAMESPACE/NAME, such as ghcr.io/devcontainers/features/go:1`},
			{"containerEnv", 7, `"A B": "A B" is not a valid name of a variable: use letters, digits and underscores`},
			{"containerEnv", 7, `"N": it is not a text`},
			{"containerEnv", 7, `"OTHER": "${localEnv:TOKEN}" is not replaced`},
			{"containerEnv", 7, `"PATH": "${containerEnv:PATH}" is not replaced`},
			{"remoteEnv", 11, `"NONE": it is not a text`},
			{"containerUser", 12, "remoteUser counts"},
			{"postCreateCommand", 15, `"c": the command is empty`},
			{"postAttachCommand", 17, "nothing runs when a shell is opened"},
			{"initializeCommand", 18, "it would run on this host"},
			{"forwardPorts", 19, `"db:5432" is a port of another container`},
			{"forwardPorts", 19, `cannot publish "99999": write LISTEN:TARGET`},
			{"portsAttributes", 20, "they are settings of editors"},
			{"hostRequirements", 21, `"gpu": a VM does not have it`},
			{"customizations", 24, "they are settings of editors"},
			{"somethingNew", 25, "banger does not know it"},
			{"mounts", 26, "a VM has no mounts of the host: [[files]] of banger.toml copies"},
		},
	}
	if ids := fmt.Sprint(got.Features[0].ID, got.Features[1].ID, got.Override); ids != "ghcr.io/a/b:1 ./.devcontainer/x [ghcr.io/a/b]" {
		t.Errorf("features: %s", ids)
	}
	got.Features, got.Override = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if needs := got.Config.Reach("/home/me/app", "nat").Needs(&project.Allowed{}); len(needs) != 1 || !strings.Contains(needs[0], "the variable TOKEN of this host") {
		t.Errorf("a variable of the host is not asked about: %q", needs)
	}
}

// TestTheLastVariableCounts: one variable has one origin.
func TestTheLastVariableCounts(t *testing.T) {
	for text, want := range map[string]project.Config{
		`{"containerEnv": {"A": "${localEnv:A}"}, "remoteEnv": {"A": "1"}}`:             {Env: map[string]string{"A": "1"}},
		`{"containerEnv": {"A": "1", "B": "2"}, "remoteEnv": {"A": "${env:A}"}}`:        {Env: map[string]string{"B": "2"}, HostEnv: []string{"A"}},
		`{"containerEnv": {"A": "${localEnv:A}"}, "remoteEnv": {"A": "${localEnv:A}"}}`: {HostEnv: []string{"A"}},
	} {
		got, err := Parse("/w", "x", []byte(text))
		if err != nil || strings.Join(got.Config.HostEnv, " ") != strings.Join(want.HostEnv, " ") || fmt.Sprint(got.Config.Env) != fmt.Sprint(want.Env) {
			t.Errorf("%s: %+v, %v", text, got.Config, err)
		}
	}
}

// TestEveryKeyCounts: a value that cannot be applied is said, whatever it is.
func TestEveryKeyCounts(t *testing.T) {
	for text, want := range map[string]string{
		`"image": 3`:                                        "it is not a text",
		`"image": "a b"`:                                    "is not a valid name",
		`"image": "${localEnv:IMAGE}"`:                      "is not replaced",
		`"workspaceFolder": "/proc/x"`:                      "is not on the guest's disk",
		`"workspaceFolder": "../x"`:                         "is not the absolute path",
		`"remoteUser": "a b"`:                               "is not a valid owner",
		`"remoteUser": []`:                                  "it is not a text",
		`"containerEnv": []`:                                "it is not an object",
		`"containerEnv": {"A": "\u0000"}`:                   "NUL",
		`"forwardPorts": [{}]`:                              "cannot publish",
		`"forwardPorts": ["/run/x:80"]`:                     "",
		`"appPort": "0"`:                                    "cannot publish",
		`"hostRequirements": 3`:                             "it is not an object",
		`"hostRequirements": {"cpus": 0}`:                   "0 processors",
		`"hostRequirements": {"cpus": 4294967298}`:          "129 processors",
		`"hostRequirements": {"cpus": -1}`:                  "0 processors",
		`"hostRequirements": {"cpus": 1e9}`:                 "is not a number of processors",
		`"hostRequirements": {"cpus": "4"}`:                 "is not a number of processors",
		`"hostRequirements": {"memory": "1kb"}`:             "is too small",
		`"hostRequirements": {"memory": 8}`:                 "is not a size such as 8gb",
		`"hostRequirements": {"storage": "99tb"}`:           "is too large",
		`"postCreateCommand": 3`:                            "it is not a text",
		`"postCreateCommand": []`:                           "use a text in quotes",
		`"postCreateCommand": [1]`:                          "it is not a text",
		`"postCreateCommand": "${devcontainerId}"`:          "is not replaced",
		`"remoteUser": "1000", "postCreateCommand": "make"`: `it cannot run as "1000"`,
		`"postStartCommand": "\u0000"`:                      "NUL",
		`"features": []`:                                    "it is not an object",
		`"features": {"go": {}}`:                            "such as ghcr.io/devcontainers/features/go:1",
		`"features": {"ghcr.io/a/b/c": true}`:               "neither an object of options nor a version",
		`"features": {"../x": {}}`:                          "in a directory of .devcontainer",
		`"overrideFeatureInstallOrder": {}`:                 "it is not a list",
		`"image": "a", "image": "b"`:                        "the last one counts",
		`"unknown \u202e": {"a": [1, 2]}`:                   "banger does not know it",
	} {
		text = strings.ReplaceAll("{"+text+"}", `, "image": "b"`, ",\n\"image\": \"b\"")
		got, err := Parse("/w", "x", []byte(text))
		if err != nil || len(got.NotApplied) != 1 || !strings.Contains(got.NotApplied[0].Why, want) || got.NotApplied[0].Line != 1 {
			t.Errorf("%s: %+v, %v; want %q", text, got.NotApplied, err, want)
		}
	}
	got, err := Parse("/w", "x", []byte(`{"appPort": 8000, "remoteUser": "root", "containerEnv": {"A": "${localEnv:A}"}, "remoteEnv": {"A": "1"}, "postCreateCommand": ["a"]}`))
	if err != nil || len(got.NotApplied) > 0 || len(got.Config.Ports) != 1 || len(got.Config.HostEnv) > 0 || len(got.Config.Setup[0]) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMistakes(t *testing.T) {
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "\"V%d\": \"\",", i)
	}
	for text, want := range map[string]string{
		"":                 "line 1: it ends too early",
		"[]":               "line 1: it is not an object",
		"{\n\"a\": 1":      "line 2: it ends too early",
		"{\n\"a\" 1}":      "line 2: ",
		"{\n\"a\": [1 2]}": "line 2: ",
		"{}\n{}":           "line 2: something follows the end",
		"{} /* never ends": "",
		"{\"a\": \"b":      "line 1: ",
		"{\"containerEnv\": {" + many.String() + "}}":  "300 variables: at most 256 are possible",
		"{\"a\": " + strings.Repeat("[", 20_000) + "}": "line 1: ",
	} {
		_, err := Parse("/w", ".devcontainer.json", []byte(text))
		if want == "" && err == nil {
			continue
		}
		if err == nil || api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "cannot use /w/.devcontainer.json: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want %q", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	top := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		os.MkdirAll(filepath.Dir(filepath.Join(top, name)), 0o755)
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, found, err := Load(top); found || err != nil {
		t.Errorf("none: %t, %v", found, err)
	}
	write(".devcontainer/go/devcontainer.json", "{}")
	if _, found, err := Load(top); found || api.KindOf(err) != api.KindUnsupported {
		t.Errorf("one to choose: %t, %v", found, err)
	}
	write(".devcontainer.json", `{"image": "b"}`)
	if r, found, err := Load(top); !found || err != nil || r.Config.Image != "b" {
		t.Errorf("%+v, %t, %v", r, found, err)
	}
	write(".devcontainer/devcontainer.json", `{"image": "a"}`)
	if r, found, err := Load(top); !found || err != nil || r.Config.Image != "a" {
		t.Errorf("%+v, %t, %v", r, found, err)
	}
	path := filepath.Join(top, ".devcontainer/devcontainer.json")
	os.Remove(path)
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, found, err := Load(top); !found || api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a FIFO: %t, %v", found, err)
	}
}

// FuzzParse: every key is applied or said, what is applied is a valid banger.toml, and JSON means
// the same with and without what is stripped.
func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add(`{"a": "//", "b": [1,], /**/}`)
	f.Add(`{"remoteUser": "a", "postCreateCommand": {"x": ["\\\"", "${localEnv:X}"]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if plain := jsonc.Plain([]byte(text)); len(plain) != len(text) || bytes.Count(plain, []byte("\n")) != strings.Count(text, "\n") {
			t.Errorf("%q became %q", text, plain)
		} else if json.Valid([]byte(text)) && !bytes.Equal(plain, []byte(text)) {
			t.Errorf("%q is JSON, and became %q", text, plain)
		}
		r, err := Parse("/w", "x", []byte(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := r.Config.Write(&b, nil); err != nil {
			t.Fatal(err)
		}
		again, err := project.Parse("x", b.Bytes())
		if diff := cmp.Diff(r.Config, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	})
}
