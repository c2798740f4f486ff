// Package layout holds the shape of the code to what docs/architecture.md says:
// which package may know which, what each program links, and that everything
// that can be used from elsewhere is explained.
package layout

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"banger/internal/golden"
)

const root = "../.."

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	return goListIn(t, os.Getenv("GOWORK"), args...)
}

// goListIn is goList in a workspace (go help work): "" is that of go.work, "off" none.
func goListIn(t *testing.T, workspace string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK="+workspace)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

// leaves may be known by everyone and know only each other.
var leaves = []string{"api", "internal/guest/budget", "internal/buildinfo", "internal/guest/chunk", "internal/commands", "internal/guest/guestnet", "internal/host/execx", "internal/faultpoint", "internal/host/fileid", "internal/host/fsx", "internal/idref", "internal/imageconfig", "internal/label", "internal/logging", "internal/paths", "internal/size", "internal/host/tsc", "internal/tomlline", "internal/vmid"}

// known says which of our packages each package may import, leaves aside. "x/…"
// stands for everything below x.
var known = map[string][]string{
	"client":               {"internal/guest", "internal/guest/forward", "internal/guest/manifest", "internal/guest/stdio", "internal/treewatch"},
	"internal/daemonstart": {"client", "internal/config"},
	"internal/cli": {"client", "internal/daemonstart", "internal/host/console", "internal/guest", "internal/guest/forward", "internal/guest/stdio", "internal/config", "internal/doctor", "internal/cli/sshconfig", "internal/system", "internal/system/fcrelease", "internal/fetch", "internal/rootapi", "internal/update", "internal/update/journal", "internal/update/repo",
		"internal/guest/filecopy", "internal/guest/hostfiles", "internal/workspace", "internal/workspace/apply", "internal/workspace/branch", "internal/workspace/devcontainer", "internal/workspace/feature",
		"internal/workspace/gitremote", "internal/workspace/gitrepo", "internal/workspace/history", "internal/workspace/live", "internal/workspace/treesync", "internal/workspace/project", "internal/workspace/remote", "internal/workspace/review", "internal/workspace/setups", "internal/workspace/imagebuild", "internal/workspace/series"},

	"internal/update": {
		"client", "internal/daemonstart", "internal/op", "internal/host/proc", "internal/system", "internal/system/record", "internal/host/systemd",
		"internal/update/archive", "internal/installlock/hold", "internal/update/journal", "internal/installlock", "internal/update/programs", "internal/update/release", "internal/update/repo",
	},
	"internal/update/journal":   {"internal/host/proc", "internal/system/record"},
	"internal/installlock/hold": {},
	"internal/installlock":      {},

	"internal/golden":            {}, // for tests
	"internal/host/fsx/fusetest": {}, // for tests
	"internal/host/fsx/synctest": {}, // for tests

	"internal/fetch": {},

	"internal/workspace/project":      {"internal/config", "internal/guest/forward"},
	"internal/workspace/devcontainer": {"internal/config", "internal/guest/forward", "internal/workspace/feature", "internal/workspace/jsonc", "internal/workspace/project"},
	"internal/workspace/feature":      {"internal/guest/filecopy", "internal/image/oci/blobs", "internal/image/oci/registry", "internal/workspace/jsonc"},
	"internal/workspace/imagebuild":   {"internal/workspace/devcontainer", "internal/workspace/gitrepo", "internal/workspace/project"},
	"internal/workspace/jsonc":        {},

	"internal/config": {},
	"internal/doctor": {"internal/config", "internal/driver", "internal/host/network", "internal/rootapi"},

	// What an update trusts knows nothing of what it updates.
	"internal/update/release":  {},
	"internal/update/repo":     {"internal/fetch", "internal/update/release"},
	"internal/update/archive":  {"internal/update/release"},
	"internal/update/programs": {"internal/update/release"},
	"internal/update/repotest": {"internal/update/release"},

	"internal/host/rootexec": {},
	"internal/system": {
		"internal/host/rootexec", "internal/system/record", "internal/system/fcrelease", "internal/host/systemd", "internal/installlock", "internal/fetch",
		"internal/driver/firecracker",
	},
	"internal/system/fcrelease":        {"internal/driver/firecracker", "internal/fetch", "internal/update/archive"},
	"internal/system/fcrelease/fctest": {"internal/update/repotest"},
	"internal/system/record":           {},
	"internal/host/systemd":            {},

	// The root helper. It runs as root: what it may know is what it needs.
	"internal/rootapi": {},
	"internal/roothelper": {
		"internal/rootapi", "internal/host/blockdev", "internal/host/network", "internal/host/network/netns", "internal/host/resolved", "internal/host/systemd",
		"internal/daemon/fcproc", "internal/host/proc", "internal/driver", "internal/driver/firecracker", "internal/driver/qemu",
		"internal/disk", "internal/config", "internal/host/rootexec", "internal/system/record", "internal/roothelper/hostfirewall", "internal/roothelper/instancelock", "internal/roothelper/removetree",
	},
	"internal/roothelper/removetree":   {},
	"internal/roothelper/hostfirewall": {"internal/host/network", "internal/host/network/netns"},
	"internal/roothelper/instancelock": {},
	"internal/host/blockdev":           {},
	"internal/host/network":            {},
	"internal/host/network/netns":      {"internal/host/network", "internal/host/rootexec"},
	"internal/host/resolved":           {"internal/host/network"},
	"internal/daemon/fcproc":           {"internal/host/proc"},
	"internal/daemon/lock":             {},
	"internal/daemon/relay":            {},
	"internal/vm/leaks":                {},
	"internal/vm/roothost":             {"internal/host/network", "internal/rootapi"},

	"internal/daemon/caches": {"internal/image/export", "internal/op", "internal/vm"},
	"internal/daemon":        {"internal/daemon/caches", "internal/guest", "internal/installlock/hold", "internal/names", "internal/system/record", "internal/host/systemd", "internal/daemon/lock", "internal/daemon/relay", "internal/guest/hostfiles", "internal/vm", "internal/op", "internal/store", "internal/config", "internal/host/console", "internal/disk", "internal/driver", "internal/publish"},
	"internal/publish":       {"client", "internal/daemonstart", "internal/guest", "internal/guest/forward", "internal/host/proc", "internal/update/journal"},
	"internal/names":         {"internal/host/network", "internal/rootapi"},
	"internal/vm": {
		"internal/op", "internal/disk", "internal/driver", "internal/guest", "internal/guest/agentproto", "internal/guest/hostfiles", "internal/host/console",
		"internal/vm/access", "internal/vm/change", "internal/vm/disks", "internal/vm/filesync", "internal/vm/idle", "internal/vm/instance", "internal/vm/machines", "internal/vm/observe", "internal/vm/ports", "internal/vm/reconcile", "internal/vm/records", "internal/vm/snapshots", "internal/vm/suspend", "internal/vm/tasks", "internal/vm/turns",
	},
	"internal/vm/access":    {"internal/guest", "internal/vm/instance", "internal/vm/records"},
	"internal/vm/change":    {"internal/driver", "internal/guest", "internal/vm/instance", "internal/vm/ports", "internal/vm/records"},
	"internal/vm/disks":     {"internal/disk", "internal/vm/records"},
	"internal/vm/filesync":  {"internal/guest", "internal/guest/hostfiles", "internal/vm/records"},
	"internal/vm/idle":      {"internal/driver", "internal/op", "internal/vm/instance", "internal/vm/records", "internal/vm/tasks"},
	"internal/vm/instance":  {"internal/driver", "internal/guest", "internal/guest/agentproto", "internal/host/console", "internal/vm/tasks"},
	"internal/vm/machines":  {"internal/driver", "internal/vm/instance", "internal/vm/records", "internal/vm/tasks"},
	"internal/vm/observe":   {"internal/driver", "internal/guest", "internal/guest/agentproto", "internal/vm/instance", "internal/vm/records", "internal/vm/tasks"},
	"internal/vm/ports":     {"internal/guest/forward", "internal/op", "internal/vm/instance", "internal/vm/records"},
	"internal/vm/reconcile": {"internal/driver", "internal/op", "internal/vm/leaks", "internal/vm/machines", "internal/vm/ports", "internal/vm/records", "internal/vm/tasks"},
	"internal/vm/records":   {"internal/op", "internal/vm/instance"},
	"internal/vm/snapshots": {"internal/driver", "internal/guest", "internal/guest/agentproto", "internal/op", "internal/vm/disks", "internal/vm/instance", "internal/vm/records", "internal/vm/suspend"},
	"internal/vm/suspend":   {"internal/driver", "internal/guest", "internal/op", "internal/vm/disks", "internal/vm/instance", "internal/vm/machines", "internal/vm/ports", "internal/vm/records", "internal/vm/turns"},
	"internal/vm/tasks":     {},
	"internal/vm/turns":     {"internal/op", "internal/queue", "internal/vm/records"},

	"internal/op":    {},
	"internal/store": {"internal/op"},

	"internal/disk":                     {},
	"internal/disk/…":                   {"internal/disk"},
	"internal/disk/dmsnap":              {"internal/disk", "internal/host/blockdev"},
	"internal/driver":                   {"internal/disk"},
	"internal/driver/vmproc":            {"internal/host/console", "internal/driver", "internal/host/proc"},
	"internal/driver/qemu/migration":    {},
	"internal/driver/qemu":              {"internal/driver", "internal/driver/qemu/migration", "internal/driver/vmproc", "internal/disk", "internal/guest/agentproto", "internal/host/proc"},
	"internal/driver/firecracker":       {},
	"internal/driver/firecracker/fcapi": {},
	"internal/driver/jailed":            {"internal/driver", "internal/driver/vmproc", "internal/driver/firecracker", "internal/driver/firecracker/fcapi", "internal/driver/qemu", "internal/rootapi", "internal/host/proc"},
	"internal/driver/fake":              {"internal/driver", "internal/guest/agentproto", "internal/driver/vmproc", "internal/guest/agent", "internal/guest/agent/freezer", "internal/guest/agent/sshd", "internal/host/proc"},
	"internal/driver/drivertest":        {"internal/driver", "internal/guest/agentproto", "internal/host/console", "internal/host/proc"},
	"internal/host/proc":                {},
	"internal/host/console":             {},

	"internal/digeststore":            {},
	"internal/image":                  {"internal/digeststore", "internal/host/apt", "internal/image/distro", "internal/image/ext4", "internal/image/export", "internal/image/rootfs", "internal/image/singleflight", "internal/image/tarball", "internal/queue", "internal/image/oci", "internal/image/oci/blobs", "internal/image/oci/registry", "internal/host/userns"},
	"internal/image/distro":           {"internal/host/apt", "internal/host/userns", "internal/image/rootfs"},
	"internal/image/export":           {"internal/image/ext4", "internal/image/oci", "internal/image/tarball"},
	"internal/image/imagetest":        {"internal/image/oci", "internal/image/tarball"}, // for tests
	"internal/image/rootfs":           {"internal/host/userns", "internal/image/ext4", "internal/image/ext4/fill", "internal/image/oci", "internal/image/tarball"},
	"internal/image/tarball":          {},
	"internal/image/oci":              {},
	"internal/image/oci/blobs":        {"internal/image/singleflight", "internal/image/oci"},
	"internal/image/oci/registry":     {"internal/image/oci", "internal/image/oci/blobs"},
	"internal/image/oci/registrytest": {"internal/image/oci"},
	"internal/image/singleflight":     {},
	"internal/queue":                  {},
	"internal/image/ext4":             {},
	"internal/image/ext4/fill":        {"internal/image/ext4"},
	"internal/kernel":                 {"internal/digeststore", "internal/host/apt"},
	"internal/host/apt":               {},
	"internal/host/userns":            {},

	"internal/guest":            {"internal/guest/agentproto", "internal/guest/forward", "internal/guest/stream", "internal/guest/stdio", "internal/guest/filecopy", "internal/guest/manifest", "internal/treewatch"},
	"internal/cli/sshconfig":    {},
	"internal/guest/agent/sshd": {"internal/guest/forward", "internal/guest/stdio"},
	"internal/guest/agent":      {"internal/guest/agent/freezer", "internal/guest/agent/identity", "internal/guest/agent/process", "internal/guest/agent/sshd", "internal/guest/agentproto", "internal/guest/forward", "internal/guest/sockets", "internal/guest/stream", "internal/guest/stdio", "internal/guest/filecopy", "internal/guest/manifest", "internal/treewatch"},
	"internal/guest/agent/boot": {"internal/guest/agent", "internal/guest/agent/freezer", "internal/guest/agent/identity", "internal/guest/agent/process", "internal/guest/agent/transport", "internal/guest/agentproto"},
	"internal/guest/agentproto": {},
	"internal/guest/stream":     {},
	"internal/guest/stdio":      {},
	"internal/guest/forward":    {"internal/guest/sockets", "internal/guest/stdio"},
	"internal/guest/sockets":    {},
	"internal/guest/filecopy":   {},
	"internal/guest/hostfiles":  {"internal/guest", "internal/guest/agentproto", "internal/guest/filecopy"},
	"internal/guest/manifest":   {"internal/guest/filecopy", "internal/treewatch"},
	"internal/treewatch":        {},

	"internal/workspace": {"client", "internal/workspace/apply", "internal/workspace/devcontainer", "internal/workspace/gitrepo", "internal/workspace/incoming",
		"internal/treewatch", "internal/workspace/live", "internal/workspace/objects", "internal/workspace/partial", "internal/workspace/remote", "internal/workspace/treesync", "internal/workspace/setups", "internal/workspace/series"},
	"internal/workspace/remote":  {"internal/workspace/giturl", "internal/workspace/gitrepo"},
	"internal/workspace/gitrepo": {"internal/workspace/giturl", "internal/workspace/secret"},
	"internal/workspace/giturl":  {},
	"internal/workspace/series":  {},
	"internal/workspace/secret":  {},
	"internal/workspace/live":    {},
	"internal/workspace/partial": {"internal/workspace/incoming"},

	// Work trees, on the host, as the user. What comes from a guest is data to all of them.
	"internal/workspace/apply":     {"internal/workspace/objects", "internal/workspace/treename"},
	"internal/workspace/branch":    {"internal/workspace/objects"},
	"internal/workspace/gitremote": {},
	"internal/workspace/history":   {"internal/workspace/treename"},
	"internal/workspace/incoming":  {"internal/workspace/objects", "internal/workspace/treename"},
	"internal/workspace/marks":     {},
	"internal/workspace/objects":   {},
	"internal/workspace/review":    {"internal/workspace/marks", "internal/workspace/objects", "internal/workspace/treename"},
	"internal/workspace/setups":    {"internal/workspace/devcontainer", "internal/workspace/incoming", "internal/workspace/objects"},
	"internal/workspace/treename":  {},
	"internal/workspace/treesync":  {"internal/workspace/apply", "internal/workspace/incoming", "internal/workspace/objects"},
	"internal/workspace/worktest":  {"internal/workspace/incoming", "internal/workspace/treesync"}, // for tests

	"internal/guest/agent/freezer":   {"internal/guest/agentproto"},
	"internal/guest/agent/identity":  {"internal/guest/agentproto"},
	"internal/guest/agent/process":   {"internal/guest/agentproto"},
	"internal/guest/agent/transport": {"internal/guest/agentproto"},
}

func TestWhoKnowsWhom(t *testing.T) {
	for _, line := range strings.Split(strings.Join(goList(t, "-f", `{{.ImportPath}}|{{join .Imports ","}}`, "./api", "./client", "./internal/..."), "\n"), "\n") {
		path, imports, _ := strings.Cut(line, "|")
		pkg := strings.TrimPrefix(path, "banger/")
		allowed, listed := known[pkg]
		if !listed {
			allowed, listed = known[filepath.Dir(pkg)+"/…"]
		}
		if !listed && !slices.Contains(leaves, pkg) {
			t.Errorf("%s is in no list: say here what it may import", pkg)
		}
		for _, i := range strings.Split(imports, ",") {
			i, ours := strings.CutPrefix(i, "banger/")
			if ours && !slices.Contains(leaves, i) && !slices.Contains(allowed, i) {
				t.Errorf("%s must not import %s", pkg, i)
			}
		}
	}
}

// forbidden are packages that a program must not link, with the reason.
var forbidden = map[string]map[string]string{
	"banger": {
		"modernc.org/sqlite":     "the CLI holds no state",
		"banger/internal/vm":     "the CLI decides nothing",
		"banger/internal/daemon": "the CLI talks to the daemon, it is none",
	},
	"bangerd": {
		"github.com/spf13/cobra":      "the daemon is no command-line tool",
		"banger/internal/cli":         "the daemon knows no user interface",
		"banger/internal/driver/fake": "a fake belongs into tests",
	},
	"bangerd-root": {
		"net/http":                                      "root answers on one Unix socket, and asks nobody",
		"crypto/tls":                                    "as net/http",
		"database/sql":                                  "the kernel is its ledger: it remembers nothing",
		"modernc.org/sqlite":                            "as database/sql",
		"github.com/spf13/cobra":                        "it is no command-line tool",
		"banger/internal/cli":                           "it knows no user interface",
		"banger/internal/daemon":                        "what is the owner's is none of root's business",
		"banger/internal/vm":                            "as internal/daemon: it decides nothing about VMs",
		"banger/internal/store":                         "as internal/daemon",
		"banger/internal/op":                            "as internal/daemon",
		"banger/internal/image":                         "root reads no image",
		"banger/internal/guest":                         "root talks to no guest",
		"banger/internal/update":                        "an update replaces the helper, which has no part in it",
		"banger/internal/driver/jailed":                 "that is the side that asks",
		"banger/internal/driver/fake":                   "a fake belongs into tests",
		"github.com/google/go-containerregistry/pkg/v1": "root fetches nothing",
	},
	"banger-agent": {
		"net/http":           "it would double the agent, which every guest's memory holds",
		"crypto/tls":         "as net/http",
		"modernc.org/sqlite": "the agent keeps nothing",
	},
}

func TestWhatProgramsLink(t *testing.T) {
	for program, without := range forbidden {
		t.Run(program, func(t *testing.T) {
			all := goList(t, "-deps", "./cmd/"+program)
			for path, reason := range without {
				if slices.Contains(all, path) {
					t.Errorf("%s links %s: %s", program, path, reason)
				}
			}
			var foreign []string
			for _, path := range all {
				if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
					foreign = append(foreign, path)
				}
			}
			slices.Sort(foreign)
			golden.Check(t, program+".txt", strings.Join(foreign, "\n")+"\n")
		})
	}
}

// TestTheProductNeedsNoTools: its packages and tests build without the module tools, and
// with it from the same versions of others' modules. If not, what is tested is not what
// is built.
func TestTheProductNeedsNoTools(t *testing.T) {
	modules := func(workspace string) string {
		all := goListIn(t, workspace, "-deps", "-test", "-f", "{{with .Module}}{{.Path}}@{{.Version}}{{end}}", "./...")
		slices.Sort(all)
		return strings.Join(slices.Compact(all), "\n")
	}
	if alone, together := modules("off"), modules(""); alone != together {
		t.Errorf("go.mod alone gives\n%s\nand with tools/go.mod\n%s\ntype: go work sync", alone, together)
	}
}

// packages parses every package of ours, tests aside.
func packages(t *testing.T, tests bool) map[string][]*ast.File {
	t.Helper()
	found := map[string][]*ast.File{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || path != root && (strings.HasPrefix(name, ".") || name == "bin")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") != tests {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		found[filepath.Dir(path)] = append(found[filepath.Dir(path)], f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d packages were found", len(found))
	}
	return found
}

// TestNothingIsNamedAfterAFailedSync: errors.Join evaluates all of its arguments, so a file
// whose sync failed gets its name all the same.
func TestNothingIsNamedAfterAFailedSync(t *testing.T) {
	called := func(n ast.Node, names ...string) (found bool) {
		ast.Inspect(n, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			found = found || ok && slices.Contains(names, s.Sel.Name)
			return !found
		})
		return found
	}
	for pkg, files := range packages(t, false) {
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !called(call.Fun, "Join") {
					return true
				}
				synced := false
				for _, arg := range call.Args {
					if synced && called(arg, "Rename", "Link", "Swap", "Relink") {
						t.Errorf("%s: a name is given in the same errors.Join as a sync before it", pkg)
					}
					synced = synced || called(arg, "Sync", "SyncDir")
				}
				return true
			})
		}
	}
}

// TestNobodyFindsVMMsByCommandLine: what fcproc.FindPID finds is proof of nothing.
func TestNobodyFindsVMMsByCommandLine(t *testing.T) {
	found := false
	for pkg, files := range packages(t, false) {
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				name, ok := n.(*ast.Ident)
				if ok && name.Name == "FindPID" && pkg != filepath.Join(root, "internal/daemon/fcproc") {
					t.Errorf("%s uses FindPID", pkg)
				}
				found = found || ok && name.Name == "FindPID"
				return true
			})
		}
	}
	if !found {
		t.Error("fcproc has no FindPID: this test is of no use")
	}
}

func TestEverythingExportedIsExplained(t *testing.T) {
	for dir, files := range packages(t, false) {
		if !slices.ContainsFunc(files, func(f *ast.File) bool { return f.Doc != nil }) {
			t.Errorf("%s has no package comment", dir)
		}
		for _, f := range files {
			for _, decl := range f.Decls {
				for _, name := range unexplained(decl) {
					t.Errorf("%s: %s is exported and has no comment", dir, name)
				}
			}
		}
	}
}

func unexplained(decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || receiverExported(d)) && !obvious(d) {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					names = append(names, s.Names[0].Name)
				}
			}
		}
		return names
	}
	return nil
}

// obvious are methods whose meaning an interface of the standard library fixes.
func obvious(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Error", "Unwrap", "String", "Read", "Write", "Close", "Is", "Len", "Less", "Swap", "Set", "Type", "Format"}, d.Name.Name)
}

func receiverExported(d *ast.FuncDecl) bool {
	expr := d.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	id, ok := expr.(*ast.Ident)
	return ok && id.IsExported()
}

func TestPackageCommentsBeginAsUsual(t *testing.T) {
	for dir, files := range packages(t, false) {
		for _, f := range files {
			if f.Doc == nil {
				continue
			}
			text := new(doc.Package).Synopsis(f.Doc.Text())
			if f.Name.Name != "main" && !strings.HasPrefix(text, "Package "+f.Name.Name+" ") {
				t.Errorf("%s: the package comment begins %q", dir, fmt.Sprintf("%.40s", text))
			}
		}
	}
}

// TestFuzzTestsHaveASeed: every fuzz test has a corpus that is checked in.
func TestFuzzTestsHaveASeed(t *testing.T) {
	count := 0
	for dir, files := range packages(t, true) {
		for _, f := range files {
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
					continue
				}
				count++
				seeds, _ := os.ReadDir(filepath.Join(dir, "testdata", "fuzz", fn.Name.Name))
				if len(seeds) == 0 {
					t.Errorf("%s: %s has no seed in testdata/fuzz", dir, fn.Name.Name)
				}
			}
		}
	}
	if count == 0 {
		t.Error("no fuzz test was found")
	}
}
