package project

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"banger/internal/config"
	"banger/internal/golden"
	"banger/internal/size"

	"github.com/google/go-cmp/cmp"
)

// TestGuesses: the golden files are what `banger up --write` writes for such repositories.
func TestGuesses(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing":      {"README.md": "# x"},
		"go":           {"go.mod": "module x\n\ngo 1.26.1 // as in CI\n", "go.sum": "", "Makefile": "all:\n"},
		"go-old":       {"go.mod": "module x\ngo 1.13\n"},
		"go-toolchain": {"go.mod": "module x\r\ngo 1.21\r\ntoolchain go1.24.3\r\n"},
		"go-bare":      {"go.mod": "module x\n"},
		"npm":          {"package.json": `{"engines": {"node": ">=20"}}`, "package-lock.json": "{}", "Dockerfile": "FROM x", ".devcontainer/devcontainer.json": "{}"},
		"npm-bare":     {"package.json": `{}`},
		"pnpm":         {"package.json": `{"packageManager": "pnpm@9.1.0+sha512.abc"}`, "pnpm-lock.yaml": ""},
		"yarn":         {"package.json": `{}`, "yarn.lock": ""},
		"yarn-later":   {"package.json": `{"packageManager": "yarn@4.5.0"}`, "yarn.lock": ""},
		"uv":           {"pyproject.toml": "[project]\nname = \"x\"\n", "uv.lock": ""},
		"poetry":       {"pyproject.toml": "[tool.poetry]\n", "poetry.lock": ""},
		"requirements": {"requirements.txt": "x\n", "pyproject.toml": "[tool.ruff]\n"},
		"pyproject":    {"pyproject.toml": "[project]\nname = \"x\"\n"},
		"python-tools": {"pyproject.toml": "[tool.ruff]\n"},
		"rust":         {"Cargo.toml": "[package]\nname = \"x\"\nrust-version = \"1.80\"\n", "Cargo.lock": "", "rust-toolchain.toml": ""},
		"ruby":         {"Gemfile": "", "Gemfile.lock": ""},
		"maven":        {"pom.xml": "<project/>"},
		"gradle":       {"build.gradle.kts": "", "gradlew": "#!/bin/sh\n", "gradle/wrapper/gradle-wrapper.properties": ""},
		"php":          {"composer.json": "{}", "composer.lock": "{}"},
		"make":         {"Makefile": "all:\n", ".tool-versions": "x 1\n"},
		"several":      {"go.mod": "module x\n\ngo 1.24\n", "package.json": `{}`, "package-lock.json": "{}", "requirements.txt": "x\n", "Makefile": "all:\n"},
	} {
		t.Run(name, func(t *testing.T) {
			guess, err := Look(put(t, files), config.Host{})
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "guess-"+name+".toml", written(t, guess))
		})
	}
}

// written returns a guess as a file, which reads as the guess.
func written(t *testing.T, guess Guess) string {
	t.Helper()
	var b bytes.Buffer
	if err := guess.Write(&b); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("banger.toml", b.Bytes())
	if diff := cmp.Diff(guess.Config, c); err != nil || diff != "" {
		t.Errorf("%v\n%s\n%s", err, diff, b.String())
	}
	return b.String()
}

// hostile are contents of files that a repository may have.
var hostile = []string{
	"", "\x00", "{", "[", "go 1.999.999\n", "go 1.26; rm -rf /\n", "go 1.26\ngo 1.21 && x\n", "\xff\xfe", "module x\ngo 1.24\n[env]",
	`{"packageManager": "pnpm@1.0.0; touch /x"}`, `{"packageManager": "yarn@99999.1.1"}`, `{"packageManager": "$(id)@1.1.1"}`, `{"engines": {"node": "\n[env]\nA = 1\n\u202e"}}`,
	`{"engines": 3}`, `{"packageManager": []}`, "[package]\nrust-version = \"\\n[env]\\nB=1\"", "[package]\nrust-version = 3", "project = 3", "[project]\n",
	strings.Repeat("[", 100_000), strings.Repeat("a.", 30_000) + "a = 1", strings.Repeat("x", int(maxLooked)+1),
}

// TestGuessesOfAnything: whatever is in which of the files, the guess is a valid file, and its
// commands are made of known words.
func TestGuessesOfAnything(t *testing.T) {
	names := []string{
		"go.mod", "go.sum", "package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "pyproject.toml", "requirements.txt", "uv.lock", "poetry.lock",
		"Cargo.toml", "Cargo.lock", "Gemfile", "pom.xml", "mvnw", "build.gradle", "gradlew", "composer.json", "Makefile", "Dockerfile", ".devcontainer.json", ".nvmrc",
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		files := map[string]string{}
		for _, name := range names {
			if r.IntN(3) == 0 {
				files[name] = hostile[r.IntN(len(hostile))]
			}
		}
		guess, err := Look(put(t, files), config.Host{})
		if err != nil {
			t.Fatal(err)
		}
		written(t, guess)
		for _, command := range guess.Config.Setup {
			if text, _ := command.Script(); strings.Contains(text, "rm -rf") || strings.Contains(text, "touch") || strings.Contains(text, "id)") {
				t.Errorf("a file's content became a command: %q", text)
			}
		}
		if t.Failed() {
			t.Fatal(slices.Sorted(maps.Keys(files)))
		}
	}
}

// TestLookHostileFiles: links out of the workspace, FIFOs and directories are not files of it.
func TestLookHostileFiles(t *testing.T) {
	outside := put(t, map[string]string{"package.json": `{"engines": {"node": "SECRET"}}`})
	top := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"go.mod":       func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"package.json": func(path string) error { return os.Symlink(filepath.Join(outside, "package.json"), path) },
		"Cargo.toml":   func(path string) error { return os.Mkdir(path, 0o755) },
		"Makefile":     func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		if err := make(filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	guess, err := Look(top, config.Host{})
	if err != nil || len(guess.Config.Setup) > 0 || strings.Contains(fmt.Sprint(guess), "SECRET") {
		t.Errorf("%+v, %v", guess, err)
	}
	if _, err := Look(filepath.Join(top, "none"), config.Host{}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no workspace: %v", err)
	}
	large := put(t, map[string]string{"package.json": strings.Repeat(" ", int(maxLooked)) + "{}"})
	guess, err = Look(large, config.Host{})
	if err != nil || !strings.Contains(strings.Join(guess.Noticed, "\n"), "package.json was not read: it is larger than 1 MiB") {
		t.Errorf("a large file: %q, %v", guess.Noticed, err)
	}
}

// TestGuessFitsTheHost: a guess that the host cannot start would be of no use.
func TestGuessFitsTheHost(t *testing.T) {
	top := put(t, map[string]string{"Cargo.toml": "", "go.mod": ""})
	for memory, want := range map[int64]int64{0: 4 * size.GiB, 64 * size.GiB: 4 * size.GiB, 8 * size.GiB: 4 * size.GiB, 5 * size.GiB: 2560 * size.MiB, 1000 * size.MiB: 256 * size.MiB, size.MiB: 256 * size.MiB} {
		guess, err := Look(top, config.Host{MemoryBytes: memory})
		if err != nil || guess.Config.MemoryBytes != want {
			t.Errorf("on a host with %s: %s, %v; want %s", size.Format(memory), size.Format(guess.Config.MemoryBytes), err, size.Format(want))
		}
		if said := strings.Contains(strings.Join(guess.Why["memory"], "; "), "half of this host's; 4 GiB would be better"); said != (want < 4*size.GiB) {
			t.Errorf("the reason is %q", guess.Why["memory"])
		}
	}
	if guess, err := Look(put(t, map[string]string{"Makefile": ""}), config.Host{MemoryBytes: size.GiB}); err != nil || guess.Config.MemoryBytes != 0 {
		t.Errorf("make needs %d, %v", guess.Config.MemoryBytes, err)
	}
}
