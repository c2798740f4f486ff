package devcontainer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/internal/workspace/feature"
	"banger/internal/workspace/project"
)

// local resolves local features, by their descriptions.
func local(t *testing.T, descriptions map[string]string) ([]*feature.Feature, Result, string) {
	t.Helper()
	top := t.TempDir()
	var ids []string
	for name, description := range descriptions {
		dir := filepath.Join(top, ".devcontainer", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string]string{"devcontainer-feature.json": description, "install.sh": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, `"./`+name+`": {}`)
	}
	r, err := Parse(top, ".devcontainer/devcontainer.json", []byte(`{
		"remoteUser": "dev", "workspaceFolder": "/w", "postCreateCommand": "own", "onCreateCommand": ["first"],
		"features": {`+strings.Join(ids, ",")+`}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := feature.OpenCache(t.Context(), t.TempDir(), feature.Registries{})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	set, err := cache.Resolve(t.Context(), r.Wanted(top), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set.Features, r, top
}

// TestInstalled: a feature's variables and commands apply, before those of the file; what does not is
// listed.
func TestInstalled(t *testing.T) {
	features, r, top := local(t, map[string]string{
		"a": `{
			"id": "a", "version": "1", "containerEnv": {"GOROOT": "/go", "PATH": "$GOROOT/bin:${PATH}", "W": "${NONE:-w}${GOROOT:+x}", "B C": "x", "BAD": "${a.b}", "N": 3},
			"onCreateCommand": "echo ${containerWorkspaceFolder}", "postCreateCommand": {"x": ["a"]}, "postStartCommand": "a-start",
			"privileged": true, "init": false, "capAdd": ["SYS_PTRACE"], "securityOpt": [], "mounts": [{"source": "x"}], "entrypoint": "/x.sh",
			"customizations": {"vscode": {}}, "postAttachCommand": "x", "deprecated": true, "new": 1
		}`,
		"b": `{"id": "b", "version": "1", "containerEnv": {"PATH": "/b:${PATH}"}, "postCreateCommand": "b"}`,
	})
	base := func(name string) string { return map[string]string{"PATH": "/bin"}[name] }
	var got Installed
	var skipped []string
	for _, f := range features {
		for _, s := range got.Add(r, top, f, base) {
			skipped = append(skipped, s.Key+": "+s.Why)
		}
	}
	su := func(argv ...string) project.Command {
		return append(project.Command{"su", "-s", "/bin/sh", "-c", `exec "$0" "$@"`, "--", "dev"}, argv...)
	}
	want := Installed{
		Features: []string{"./a", "./b"},
		Env:      map[string]string{"GOROOT": "/go", "PATH": "/b:/go/bin:/bin", "W": "wx"},
		Hooks: Hooks{
			OnCreate: []project.Command{su("/bin/sh", "-c", "echo /w")}, PostCreate: []project.Command{su("a"), su("/bin/sh", "-c", "b")},
			PostStart: []project.Command{su("/bin/sh", "-c", "a-start")},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantSkipped := []string{
		`containerEnv: "B C": "B C" is not a valid name of a variable: use letters, digits and underscores`, `containerEnv: "BAD": "${a.b}" is not replaced`,
		`containerEnv: "N": it is not a text`, "privileged: a VM has a kernel of its own: nothing is withheld", "capAdd: a VM has a kernel of its own: nothing is withheld",
		"mounts: a VM has no mounts of the host: [[files]] of banger.toml copies", "entrypoint: nothing of it runs when the VM starts: postStartCommand can start it",
		"customizations: they are settings of editors", "postAttachCommand: nothing runs when a shell is opened", "deprecated: its author does not maintain it any more",
		"new: banger does not know it",
	}
	if diff := cmp.Diff(wantSkipped, skipped); diff != "" {
		t.Error(diff)
	}
	all := got.Hooks.Then(r.Hooks).Once()
	if diff := cmp.Diff([]project.Command{su("/bin/sh", "-c", "echo /w"), su("first"), su("a"), su("/bin/sh", "-c", "b"), su("/bin/sh", "-c", "own")}, all); diff != "" {
		t.Error(diff)
	}
}

// TestExpandIsBounded: a variable that is made of itself does not fill the memory.
func TestExpandIsBounded(t *testing.T) {
	long := strings.Repeat("x", maxValue)
	if _, err := expand(strings.Repeat("$A", 1000), func(string) string { return long }); err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") {
		t.Error(err)
	}
	var steps int
	_, _ = expand(strings.Repeat("$A", 100_000), func(string) string { steps++; return long })
	if steps > 3 {
		t.Errorf("%d copies were made", steps)
	}
}
