package layout

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// public are the packages that a program of another module may import.
var public = []string{"banger/api", "banger/client"}

// TestPublicPackagesNeedNothingInternal: whoever imports a public package can name every
// type that its exported declarations mention.
func TestPublicPackagesNeedNothingInternal(t *testing.T) {
	compiled := exportData(t)
	for _, path := range public {
		pkg := typesOf(t, path, compiled)
		exported := 0
		for _, name := range pkg.Scope().Names() {
			object := pkg.Scope().Lookup(name)
			if !object.Exported() {
				continue
			}
			exported++
			w := &mentions{pkg: pkg}
			w.declaration(object)
			for _, hidden := range w.hidden {
				t.Errorf("%s.%s mentions %s, which other modules cannot name", path, name, hidden)
			}
		}
		if exported < 10 {
			t.Errorf("%s has only %d exported names: this test is of no use", path, exported)
		}
	}
}

// exportData returns the files with what the compiler knows of each package that a public
// one imports.
func exportData(t *testing.T) map[string]string {
	files := map[string]string{}
	for _, line := range goList(t, append([]string{"-export", "-deps", "-f", "{{.ImportPath}}|{{.Export}}"}, public...)...) {
		path, file, _ := strings.Cut(line, "|")
		files[path] = file
	}
	return files
}

// typesOf checks the types of a package.
func typesOf(t *testing.T, path string, compiled map[string]string) *types.Package {
	t.Helper()
	fset, dir := token.NewFileSet(), filepath.Join(root, strings.TrimPrefix(path, "banger/"))
	var files []*ast.File
	for _, name := range goList(t, "-f", `{{join .GoFiles "\n"}}`, path) {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(compiled[path])
	})}
	pkg, err := config.Check(path, fset, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

// mentions collects the types that a declaration of pkg mentions and that other modules
// cannot name.
type mentions struct {
	pkg    *types.Package
	hidden []string
}

// declaration looks at a package's exported name: of a type also at its exported fields
// and methods.
func (w *mentions) declaration(o types.Object) {
	name, isType := o.(*types.TypeName)
	if !isType {
		w.mention(o.Type())
		return
	}
	if named, ok := name.Type().(*types.Named); ok && !name.IsAlias() {
		w.parameters(named.TypeParams())
		w.mention(named.Underlying())
		for method := range types.NewMethodSet(types.NewPointer(named)).Methods() { // with those of embedded types
			if method.Obj().Exported() {
				w.mention(method.Type())
			}
		}
		return
	}
	w.mention(types.Unalias(name.Type()))
}

// mention looks at a type.
func (w *mentions) mention(t types.Type) {
	switch t := t.(type) {
	case *types.Basic, *types.TypeParam:
	case *types.Alias:
		w.name(t.Obj())
		w.arguments(t.TypeArgs())
	case *types.Named:
		w.name(t.Obj())
		w.arguments(t.TypeArgs())
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels and maps
		if m, ok := t.(*types.Map); ok {
			w.mention(m.Key())
		}
		w.mention(t.Elem())
	case *types.Signature:
		w.parameters(t.TypeParams())
		w.tuple(t.Params())
		w.tuple(t.Results())
	case *types.Struct:
		for field := range t.Fields() {
			if field.Exported() {
				w.mention(field.Type())
			}
		}
	case *types.Interface:
		for method := range t.Methods() {
			w.mention(method.Type())
		}
	default:
		w.hidden = append(w.hidden, fmt.Sprintf("%s, of which this test knows nothing (%T)", t, t))
	}
}

// name looks at the name of a type.
func (w *mentions) name(o *types.TypeName) {
	switch {
	case o.Pkg() == nil: // error, any
	case o.Pkg() == w.pkg && !o.Exported(), strings.Contains(o.Pkg().Path()+"/", "/internal/"):
		w.hidden = append(w.hidden, o.Pkg().Path()+"."+o.Name())
	}
}

func (w *mentions) tuple(t *types.Tuple) {
	for v := range t.Variables() {
		w.mention(v.Type())
	}
}

func (w *mentions) arguments(list *types.TypeList) {
	for t := range list.Types() {
		w.mention(t)
	}
}

func (w *mentions) parameters(list *types.TypeParamList) {
	for p := range list.TypeParams() {
		w.mention(p.Constraint())
	}
}
