package marks

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	for name, want := range map[string]string{
		".githooks/pre-commit":         "git runs hooks",
		"a/.husky/pre-push":            "Husky",
		".envrc":                       "direnv",
		"deep/in/.envrc":               "direnv",
		".vscode/tasks.json":           "VS Code runs its tasks",
		"x/.vscode/launch.json":        "to debug",
		".vscode/settings.json":        "VS Code's settings",
		".idea/runConfigurations/x":    "JetBrains",
		".devcontainer/Dockerfile":     "development container",
		"makefile":                     "make runs it",
		"sub/GNUmakefile":              "make runs it",
		"Justfile":                     "just runs it",
		"TASKFILE.YML":                 "task runs it",
		".github/workflows/ci.yml":     "GitHub runs it",
		".gitlab-ci.yml":               "GitLab runs it",
		".pre-commit-config.yaml":      "pre-commit",
		"pyproject.toml":               "pip",
		"a/setup.py":                   "pip install",
		"setup.cfg":                    "pip install",
		"tests/conftest.py":            "pytest",
		"crate/build.rs":               "cargo build",
		".cargo/config.toml":           "cargo takes",
		"a/.gitattributes":             "filters",
		".gitmodules":                  "submodule",
		".npmrc":                       "npm takes",
		".yarnrc.yml":                  "yarn runs",
		"lib/CMakeLists.txt":           "cmake runs it",
		"docs/vite.config.ts":          "runs it",
		"package.json":                 "npm runs",
		".config/lefthook.yml":         "Lefthook",
		".lefthook-local.toml":         "Lefthook",
		"lefthook-local.yaml":          "Lefthook",
		"mise.local.toml":              "mise sets",
		"src/main.go":                  "",
		"README.md":                    "",
		"workflows/x.yml":              "",
		"sub/.github/workflows/ci.yml": "", // GitHub looks at the top alone
		"Makefile.txt":                 "",
		".ideas/x":                     "",
		"x.envrc":                      "",
	} {
		got := Of(File{Path: name, Mode: "100644", OldMode: "100644"})
		if want == "" && len(got) > 0 || want != "" && !strings.Contains(strings.Join(got, ";"), want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestContents(t *testing.T) {
	for name, c := range map[string]struct {
		file File
		want string // "" for no mark
	}{
		"scripts changed":   {File{Path: "package.json", Content: []byte(`{"scripts":{"a":"x"}}`), Old: []byte(`{"scripts":{"a":"y"}}`)}, "npm runs"},
		"scripts added":     {File{Path: "package.json", Content: []byte(`{"scripts":{"a":"x"}}`)}, "npm runs"},
		"version changed":   {File{Path: "package.json", Content: []byte(`{"version":"2", "scripts":{"a" : "x"}}`), Old: []byte(`{"version":"1","scripts":{"a":"x"}}`)}, ""},
		"other case":        {File{Path: "package.json", Content: []byte(`{"scripts":{"a":"evil"},"SCRIPTS":{"a":"x"}}`), Old: []byte(`{"scripts":{"a":"x"}}`)}, "npm runs"},
		"not JSON":          {File{Path: "package.json", Content: []byte(`{"scripts":`), Old: []byte(`{"scripts":`)}, "npm runs"},
		"not looked at":     {File{Path: "package.json"}, "npm runs"},
		"a link instead":    {File{Path: "package.json", Mode: modeLink, Content: []byte("{}")}, "npm runs"},
		"new executable":    {File{Path: "tool", Mode: modeExec}, "executed"},
		"made executable":   {File{Path: "tool", Mode: modeExec, OldMode: "100644"}, "executed"},
		"still executable":  {File{Path: "tool", Mode: modeExec, OldMode: modeExec, Content: []byte("#!x")}, ""},
		"script":            {File{Path: "tool", Content: []byte("#!/bin/sh\n")}, "script"},
		"script before":     {File{Path: "tool", Content: []byte("#!/bin/sh\nx"), Old: []byte("#!/bin/sh\n")}, ""},
		"order of text":     {File{Path: "a.c", Content: []byte("/*\u202e } \u2066if (admin)\u2069 */")}, "its text"},
		"order as before":   {File{Path: "a.c", Content: []byte("\u202e."), Old: []byte("\u202e")}, ""},
		"order of a binary": {File{Path: "a.png", Content: []byte("\x00\u202e")}, ""},
		"other quotes":      {File{Path: "a.md", Content: []byte("“quoted” – and €")}, ""},
		"order of a name":   {File{Path: "a\u202etxt.exe"}, "its name"},
	} {
		if c.file.Mode == "" {
			c.file.Mode = "100644"
		}
		got := Of(c.file)
		if c.want == "" && len(got) > 0 || c.want != "" && !strings.Contains(strings.Join(got, ";"), c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLinks(t *testing.T) {
	for target, want := range map[string]string{
		"../other": "", "file": "", "../a/b": "", ".": "", "./x": "", "..": "",
		"/etc/passwd": "out of", "../../x": "out of", "../../..": "out of", "x/../../../y": "out of",
		"../.git/config": "into the repository", "../.GIT/hooks/x": "into the repository",
		"d/../x": "over another", "../d/e/../..": "over another",
	} {
		got := strings.Join(Of(File{Path: "dir/link", Mode: modeLink, Content: []byte(target)}), ";")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// TestRules: each is once in the table, is a pattern, and says where it comes from.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rules {
		if _, err := path.Match(strings.TrimSuffix(r.at, "/**"), "x"); err != nil || seen[strings.ToLower(r.at)] || r.why == "" {
			t.Errorf("%q: %v, twice: %v", r.at, err, seen[strings.ToLower(r.at)])
		}
		seen[strings.ToLower(r.at)] = true
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "rules.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[int]bool{} // by line
	for _, group := range f.Comments {
		for _, c := range group.List {
			sources[fset.Position(c.Pos()).Line] = strings.Contains(c.Text, "https://") || c.Text == "// as above" || c.Text == "// a convention, not one documentation"
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || lit.Type != nil || len(lit.Elts) == 0 {
			return true
		}
		if pos := fset.Position(lit.End()); !sources[pos.Line] {
			name := lit.Elts[0].(*ast.KeyValueExpr).Value.(*ast.BasicLit).Value
			if !slices.Contains([]string{`"banger.toml"`}, name) {
				t.Errorf("%s has no source", name)
			}
		}
		return true
	})
}
