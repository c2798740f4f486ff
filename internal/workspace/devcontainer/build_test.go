package devcontainer

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/workspace/worktest"
)

// TestBuild: a Dockerfile in all its forms; what does not apply is listed.
func TestBuild(t *testing.T) {
	for text, c := range map[string]struct {
		want    *Build
		skipped string
	}{
		`"build": {"dockerfile": "Dockerfile"}`:                                         {&Build{Dockerfile: ".devcontainer/Dockerfile", Context: ".devcontainer"}, ""},
		`"build": {"dockerfile": "../x/Dockerfile"}`:                                    {&Build{Dockerfile: "x/Dockerfile", Context: "x"}, ""},
		`"build": {"dockerfile": "D", "context": ".."}`:                                 {&Build{Dockerfile: ".devcontainer/D", Context: "."}, ""},
		`"build": {"dockerfile": "D", "context": "../${localWorkspaceFolderBasename}"}`: {&Build{Dockerfile: ".devcontainer/D", Context: "app"}, ""},
		`"dockerFile": "../D"`:                                                          {&Build{Dockerfile: "D", Context: "."}, ""},
		`"context": "..", "dockerFile": "D", "build": {"args": {"A": "1"}, "target": "t", "context": "x"}`: {
			&Build{Dockerfile: ".devcontainer/D", Context: ".", Args: map[string]string{"A": "1"}, Target: "t"}, `build: "context": dockerFile and context beside build count`,
		},
		`"build": {"dockerfile": "D", "args": {"S": "x y;$(id)\n", "N": 3, "B": true, "W": "${containerWorkspaceFolder}", "E": "${localEnv:X}", "A B": "", "Z": null}}, "workspaceFolder": "/w"`: {
			&Build{Dockerfile: ".devcontainer/D", Context: ".devcontainer", Args: map[string]string{"S": "x y;$(id)\n", "N": "3", "B": "true", "W": "/w"}},
			`build: "args": "A B": "A B" is not a valid name of a variable: use letters, digits and underscores; build: "args": "E": "${localEnv:X}" is not replaced; build: "args": "Z": it is not a text`,
		},
		`"build": {"dockerfile": "D", "args": {"A": "\u0000"}, "target": []}`: {
			&Build{Dockerfile: ".devcontainer/D", Context: ".devcontainer"}, `build: "args": "A": it has a NUL character; build: "target": it is not a text`,
		},
		`"build": {"dockerfile": "D", "cacheFrom": "x", "options": ["--pull"], "new": 1}, "image": "x"`: {
			&Build{Dockerfile: ".devcontainer/D", Context: ".devcontainer"},
			`build: "cacheFrom": an image is built without the layers of others; it is built once for each content; build: "new": banger does not know it; ` +
				`build: "options": they are arguments of docker build; image: the Dockerfile counts`,
		},
		`"build": {"context": ".."}`: {nil, "build: it names no dockerfile: the image is built of nothing else"},
		`"build": "D"`:               {nil, "build: it is not an object"},
		`"context": ".."`:            {nil, "context: it counts beside dockerFile alone: build has a context of its own"},
	} {
		r, err := Parse("/home/me/app", ".devcontainer/devcontainer.json", []byte("{"+text+"}"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var skipped []string
		for _, s := range r.NotApplied {
			skipped = append(skipped, s.Key+": "+s.Why)
		}
		if diff := cmp.Diff(c.want, r.Build); diff != "" || strings.Join(skipped, "; ") != c.skipped || r.Config.Image != "" {
			t.Errorf("%s: %s, not applied: %q", text, diff, skipped)
		}
	}
}

// TestBuildOutside: what would send files of this host into the guest that the workspace does not have is
// refused, and so is a build without its Dockerfile.
func TestBuildOutside(t *testing.T) {
	for text, want := range map[string]string{
		`"build": {"dockerfile": "../../Dockerfile"}`:                   `build.dockerfile: "../../Dockerfile" leads out of the workspace`,
		`"build": {"dockerfile": "/etc/passwd"}`:                        `"/etc/passwd" leads out of the workspace`,
		`"build": {"dockerfile": "D", "context": "../.."}`:              `build.context: "../.." leads out of the workspace`,
		`"build": {"dockerfile": "D", "context": "x/../../../y"}`:       "leads out of the workspace",
		`"build": {"dockerfile": "D", "context": "/"}`:                  "leads out of the workspace",
		`"build": {"dockerfile": "D\u0000"}`:                            "leads out of the workspace",
		`"build": {"dockerfile": "${localEnv:HOME}/Dockerfile"}`:        `"${localEnv:HOME}" is not replaced`,
		`"build": {"dockerfile": "D", "context": "${localEnv:SECRET}"}`: "is not replaced",
		`"build": {"dockerfile": 3}`:                                    "it is not a text",
		`"build": {"dockerfile": ""}`:                                   "the path is empty",
		`"dockerFile": "../../x"`:                                       "dockerFile: ",
		`"dockerFile": "x", "context": "../../x"`:                       "context: ",
		`"dockerFile": []`:                                              "it is not a text",
	} {
		_, err := Parse("/home/me/app", ".devcontainer/devcontainer.json", []byte("{"+text+"}"))
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), want) || api.AsError(err).Hint == "" {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// fakeDocker is a program in place of docker, which writes the arguments of a build, and the beginning of
// its Dockerfile, to a file beside it.
const fakeDocker = `#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
"buildx version") echo "github.com/docker/buildx v0.11.0 x" ;;
"version "*) echo 24.0.0 ;;
"inspect "*) echo '[{"Id": "sha256:1", "Architecture": "amd64", "Os": "linux", "Config": {"User": "", "Env": [], "Labels": {}}}]' ;;
"buildx build")
	printf '%s\0' "$@" > "$here/argv"
	while [ "$1" != -f ]; do shift; done
	cat "$2" > "$here/Dockerfile" ;;
esac
`

// TestBuildAsTheOracle: the program of the specification's authors builds the same file, in the same
// directory, with the same arguments.
func TestBuildAsTheOracle(t *testing.T) {
	program := worktest.Oracle(t)
	tools, top := t.TempDir(), filepath.Join(t.TempDir(), "app")
	put := func(name, content string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(tools, "docker"), fakeDocker, 0o755)
	files := []string{"Dockerfile", ".devcontainer/Dockerfile", ".devcontainer/sub/Dockerfile", "d/Other"}
	for _, name := range files {
		put(filepath.Join(top, name), "# at "+name+"\nFROM scratch AS first\nFROM first AS last\n", 0o644)
	}
	for _, text := range []string{
		`"build": {"dockerfile": "Dockerfile"}`,
		`"build": {"dockerfile": "../Dockerfile"}`,
		`"build": {"dockerfile": "./sub/../sub/Dockerfile"}`,
		`"build": {"dockerfile": "../d/Other", "context": ".."}`,
		`"build": {"dockerfile": "Dockerfile", "context": "../d", "target": "first"}`,
		`"build": {"dockerfile": "Dockerfile", "args": {"B": "x y", "A": "it's \"$HOME\" ;&\\", "N": 3, "T": true, "F": false, "E": "", "V": "${localWorkspaceFolderBasename}"}}`,
		`"dockerFile": "Dockerfile"`,
		`"dockerFile": "sub/Dockerfile"`,
		`"dockerFile": "sub/Dockerfile", "context": ".."`,
		`"dockerFile": "../Dockerfile", "build": {"context": "sub", "args": {"A": "1"}, "target": "first"}`,
		`"build": {"dockerfile": "sub/Dockerfile"}, "context": ".."`,
		`"dockerFile": "Dockerfile", "build": {"dockerfile": "../Dockerfile"}`,
	} {
		file := []byte("{" + text + "}")
		put(filepath.Join(top, places[0]), string(file), 0o644)
		cmd := exec.CommandContext(t.Context(), "node", program, "build", "--workspace-folder", top, "--docker-path", filepath.Join(tools, "docker"))
		cmd.Env = append(os.Environ(), "HOME="+tools, "TMPDIR="+tools)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", text, err, out)
		}
		r, err := Parse(top, places[0], file)
		if err != nil || r.Build == nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(theirs(t, tools, top), *r.Build); diff != "" {
			t.Errorf("%s: - the oracle, + banger: %s", text, diff)
		}
	}
}

// theirs is the build that the fake docker was asked for.
func theirs(t *testing.T, tools, top string) Build {
	t.Helper()
	argv, err := os.ReadFile(filepath.Join(tools, "argv"))
	if err != nil {
		t.Fatal(err)
	}
	dockerfile, err := os.ReadFile(filepath.Join(tools, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Split(strings.TrimSuffix(string(argv), "\x00"), "\x00")
	b := Build{Args: map[string]string{}}
	for line := range strings.Lines(string(dockerfile)) { // it adds lines of its own
		if name, found := strings.CutPrefix(line, "# at "); found {
			b.Dockerfile = strings.TrimSpace(name)
		}
	}
	if b.Context, err = filepath.Rel(top, args[len(args)-1]); err != nil {
		t.Fatal(err)
	}
	for i, arg := range args[:len(args)-1] {
		name, value, _ := strings.Cut(args[i+1], "=")
		switch {
		case arg != "--build-arg" || name == "BUILDKIT_INLINE_CACHE":
		case name == "_DEV_CONTAINERS_BASE_IMAGE": // the stage that its own ones begin with
			b.Target = value
		default:
			b.Args[name] = value
		}
	}
	if b.Target == "last" { // the default
		b.Target = ""
	}
	if len(b.Args) == 0 {
		b.Args = nil
	}
	b.Context = path.Clean(b.Context)
	return b
}
