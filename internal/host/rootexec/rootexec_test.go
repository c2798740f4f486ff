package rootexec

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/host/execx"
)

// TestTheEnvironmentHasNoSay: neither which program is run, nor what it gets to see.
func TestTheEnvironmentHasNoSay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte("#!/bin/sh\necho another\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("LD_LIBRARY_PATH", dir)
	for _, name := range []string{"env", "/usr/bin/env"} {
		var out bytes.Buffer
		if err := Run(context.Background(), execx.Cmd{Name: name, Env: []string{"MINE=1"}, Stdout: &out}); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != "LC_ALL=C.UTF-8\nMINE=1\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestWhatIsNotRun(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() == 0 { // else it is somebody else's already
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch \"$0.ran\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := Run(context.Background(), execx.Cmd{Name: path})
	if api.KindOf(err) != api.KindUnsupported || !strings.Contains(err.Error(), "others than root") || api.AsError(err).Hint == "" {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".ran"); err == nil {
		t.Error("it ran")
	}
	err = Run(context.Background(), execx.Cmd{Name: "no-such-program", Package: "some-package"})
	if e := api.AsError(err); e == nil || e.Kind != api.KindUnsupported || e.Hint != "sudo apt-get install some-package" {
		t.Errorf("%+v", e)
	}
}

// TestWhatRunsAsRoot looks at the packages of which everything runs as root: they
// start no program in any other way.
func TestWhatRunsAsRoot(t *testing.T) {
	for _, dir := range []string{"daemon/fcproc", "host/blockdev", "host/network", "host/network/netns", "host/systemd", "roothelper", "system"} {
		files, err := filepath.Glob("../../" + dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || file == "../../roothelper/qemu.go" { // it becomes QEMU, as a VM's user
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range f.Imports {
				if i.Path.Value == `"os/exec"` {
					t.Errorf("%s imports os/exec", file)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name != "Cmd" {
					if name, ok := s.X.(*ast.Ident); ok && name.Name == "execx" {
						t.Errorf("%s uses execx.%s", file, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}
