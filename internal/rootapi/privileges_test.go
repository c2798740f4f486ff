package rootapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"banger/internal/paths"
)

const privileges = "../../docs/privileges.md"

// TestEveryVerbIsDocumented compares docs/privileges.md with the verbs.
func TestEveryVerbIsDocumented(t *testing.T) {
	data, err := os.ReadFile(privileges)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(data), "\n## The verbs\n")
	if !ok {
		t.Fatal("it has no section on the verbs")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[Verb]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]*)` \\|(.*)\\|$").FindAllStringSubmatch(section, -1) {
		rows[Verb(m[1])]++
		cells := strings.Split(m[2], "|")
		if len(cells) != 4 {
			t.Errorf("the row of %s has %d cells", m[1], len(cells)+1)
		}
		for _, cell := range cells {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("the row of %s has an empty cell", m[1])
			}
		}
	}
	for _, call := range Calls() {
		if rows[call.Verb()] != 1 {
			t.Errorf("%s has %d rows", call.Verb(), rows[call.Verb()])
		}
		delete(rows, call.Verb())
	}
	for verb := range rows {
		t.Errorf("there is no verb %s", verb)
	}
	// Wherever it names a verb of a family, there is one.
	known := map[string]bool{}
	for _, call := range Calls() {
		known[string(call.Verb())] = true
	}
	for _, m := range regexp.MustCompile("`((?:vm|disk|net|boot)-[a-z-]+)`").FindAllStringSubmatch(string(data), -1) {
		if !known[m[1]] {
			t.Errorf("it names %s, which is no verb", m[1])
		}
	}
}

// TestEveryPathIsDocumented: those of package paths that the helper's source uses.
func TestEveryPathIsDocumented(t *testing.T) {
	data, err := os.ReadFile(privileges)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{
		"SystemConfig": paths.SystemConfig, "InstallRecord": paths.InstallRecord, "RootRun": paths.RootRun,
		"RootSocket": paths.RootSocket, "Jails": paths.Jails, "BootFiles": paths.BootFiles,
		"Programs": paths.Programs, "Commands": paths.Commands,
		"FirecrackerCurrent": paths.FirecrackerCurrent, "ProgramDirs": strings.Join(paths.ProgramDirs, ", "),
	}
	files, err := filepath.Glob("../roothelper/*.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	used := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "paths" {
				used[sel.Sel.Name] = true
			}
			return true
		})
	}
	if len(used) == 0 {
		t.Error("no path was found in the helper's source")
	}
	for name := range used {
		value, ok := values[name]
		if !ok {
			t.Errorf("paths.%s is used: add it to this test", name)
		} else if !strings.Contains(string(data), value) {
			t.Errorf("it does not mention %s (paths.%s)", value, name)
		}
	}
}

// TestCapabilitiesAreDocumented compares with the unit.
func TestCapabilitiesAreDocumented(t *testing.T) {
	data, err := os.ReadFile(privileges)
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile("../system/units/bangerd-root.service")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if m == nil {
		t.Fatal("the unit bounds no capabilities")
	}
	want := map[string]bool{}
	for name := range strings.FieldsSeq(string(m[1])) {
		want[name] = true
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(CAP_[A-Z_]+)` \\|").FindAllStringSubmatch(string(data), -1) {
		if !want[m[1]] {
			t.Errorf("the unit does not have %s", m[1])
		}
		delete(want, m[1])
	}
	for name := range want {
		t.Errorf("%s has no row", name)
	}
}

// TestTheEnvironmentIsDocumented: who reads variables, or looks for programs on PATH, of
// all that bangerd-root consists of.
func TestTheEnvironmentIsDocumented(t *testing.T) {
	data, err := os.ReadFile(privileges)
	if err != nil {
		t.Fatal(err)
	}
	reads := map[string]string{
		"internal/faultpoint":   "BANGER_FAULTPOINT_FILE",
		"internal/host/systemd": "NOTIFY_SOCKET",
		"internal/host/execx":   "PATH",
		"internal/roothelper":   "PATH",
		"internal/paths":        "", // Choose and User, which the helper does not call: see below
	}
	cmd := exec.Command("go", "list", "-deps", "banger/cmd/bangerd-root")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for pkg := range strings.FieldsSeq(string(out)) {
		pkg, ours := strings.CutPrefix(pkg, "banger/")
		if !ours {
			continue
		}
		files, err := filepath.Glob("../../" + pkg + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pkg, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, call := range environmentOf(t, file) {
				seen[pkg] = true
				name, known := reads[pkg]
				if !known {
					t.Errorf("%s: %s is not in docs/privileges.md, nor in this test", file, call)
				} else if !strings.Contains(string(data), "`"+name+"`") && name != "" {
					t.Errorf("it does not mention %s, which %s reads", name, pkg)
				}
			}
			if pkg == "internal/roothelper" || pkg == "cmd/bangerd-root" {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if m := regexp.MustCompile(`paths\.(Choose|User)\(`).Find(text); m != nil {
					t.Errorf("%s calls %s), which reads variables", file, m)
				}
			}
		}
	}
	for pkg := range reads {
		if !seen[pkg] {
			t.Errorf("%s reads nothing of the environment any more", pkg)
		}
	}
}

// environmentOf names the calls and values in a file that depend on the environment.
func environmentOf(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch name := pkg.Name + "." + sel.Sel.Name; name {
		case "os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "os.UserHomeDir", "os.TempDir",
			"syscall.Getenv", "syscall.Environ", "unix.Getenv", "unix.Environ", "exec.LookPath", "exec.Command", "exec.CommandContext":
			found = append(found, name)
		}
		return true
	})
	return found
}
