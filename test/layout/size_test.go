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

// TestSizes holds types to sizes that a reader can keep in mind, and the packages of the
// product, too.
func TestSizes(t *testing.T) {
	for name, s := range packageSizes(t, `{{join .GoFiles ","}}`, "./api", "./client", "./cmd/...", "./internal/...") {
		if name != "internal/cli" { // which has a file for each command
			checkSize(t, name, s.lines, maxPackageLines, "lines")
		}
		checkTypes(t, name, s)
	}
	// The types of tests are in files of any kind.
	for name, s := range packageSizes(t, `{{join .GoFiles ","}},{{join .TestGoFiles ","}},{{join .XTestGoFiles ","}}`, "./test/...", "./tools/...") {
		checkTypes(t, name, s)
	}
}

func checkTypes(t *testing.T, pkg string, s sizes) {
	t.Helper()
	for name, n := range s.methods {
		checkSize(t, pkg+"."+name, n, maxMethods, "methods")
	}
	for name, n := range s.interfaces {
		checkSize(t, pkg+"."+name, n, maxInterface, "methods")
	}
}

func checkSize(t *testing.T, name string, n, limit int, what string) {
	t.Helper()
	if n > limit {
		t.Errorf("%s has %d %s; the limit is %d", name, n, what, limit)
	}
}

// packageSizes returns the sizes of packages, by their names. files is the template of go
// list for the names of the files that count, with commas between them.
func packageSizes(t *testing.T, files string, patterns ...string) map[string]sizes {
	t.Helper()
	all := map[string]sizes{}
	for _, line := range goList(t, append([]string{"-f", `{{.ImportPath}}|{{.Dir}}|` + files}, patterns...)...) {
		fields := strings.Split(line, "|")
		names := strings.FieldsFunc(fields[2], func(r rune) bool { return r == ',' })
		all[strings.TrimPrefix(fields[0], "banger/")] = sizesOf(t, fields[1], names)
	}
	return all
}

func sizesOf(t *testing.T, dir string, files []string) sizes {
	t.Helper()
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
