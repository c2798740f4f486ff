package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is larger should be taken apart.
const (
	maxMethods      = 40   // of a type
	maxInterface    = 8    // methods of an interface
	maxPackageLines = 2500 // without tests
)

// sizes are those of a package, by the names of its types.
type sizes struct {
	lines               int
	methods, interfaces map[string]int
}

// TestSizes holds types and packages to sizes that a reader can keep in mind.
func TestSizes(t *testing.T) {
	check := func(name string, n, limit int, what string) {
		if n > limit {
			t.Errorf("%s has %d %s; the limit is %d", name, n, what, limit)
		}
	}
	for _, line := range goList(t, "-f", `{{.ImportPath}}|{{.Dir}}|{{join .GoFiles ","}}`, "./api", "./client", "./cmd/...", "./internal/...") {
		fields := strings.Split(line, "|")
		pkg, s := strings.TrimPrefix(fields[0], "banger/"), sizesOf(t, fields[1], strings.Split(fields[2], ","))
		if pkg != "internal/cli" { // which has a file for each command
			check(pkg, s.lines, maxPackageLines, "lines")
		}
		for name, n := range s.methods {
			check(pkg+"."+name, n, maxMethods, "methods")
		}
		for name, n := range s.interfaces {
			check(pkg+"."+name, n, maxInterface, "methods")
		}
	}
}

func sizesOf(t *testing.T, dir string, files []string) sizes {
	s := sizes{methods: map[string]int{}, interfaces: map[string]int{}}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		s.lines += bytes.Count(data, []byte("\n"))
		f, err := parser.ParseFile(token.NewFileSet(), name, data, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					s.methods[receiver(n.Recv.List[0].Type)]++
				}
			case *ast.TypeSpec:
				if i, ok := n.Type.(*ast.InterfaceType); ok {
					s.interfaces[n.Name.Name] = len(i.Methods.List)
				}
			}
			return true
		})
	}
	return s
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
