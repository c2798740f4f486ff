// Figures counts the shape of a Go code base: sizes of files, functions, types, interfaces
// and packages, comments, tests and commits. It prints a table for docs/adr.
//
//	go run ./tools/figures [DIRECTORY]
//
// Tests, testdata and generated files are not counted, but for the share of test lines.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// counts are what is counted of all packages.
type counts struct {
	code, comment, test        int // lines
	files, functions           []int
	parameters, interfaceSizes []int
	long                       int // functions of more than 60 lines
	fuzz, examples, benchmarks int
	exported, documented       int
	packages                   map[string]*pkg
	methods                    map[string]int // by package and type
}

type pkg struct {
	lines, files, exported int
	documented             bool
}

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	c := counts{packages: map[string]*pkg{}, methods: map[string]int{}}
	if err := c.walk(dir); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
	c.print(dir)
}

func (c *counts) walk(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && (d.Name() == "testdata" || d.Name() == "vendor" || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return c.file(path, data)
	})
}

func (c *counts) file(path string, data []byte) error {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, data, parser.ParseComments)
	if err != nil {
		return err
	}
	lines := bytes.Count(data, []byte("\n"))
	if strings.HasSuffix(path, "_test.go") {
		c.test += lines
		c.tests(f)
		return nil
	}
	if ast.IsGenerated(f) {
		return nil
	}
	name := filepath.Dir(path)
	p := c.packages[name]
	if p == nil {
		p = &pkg{}
		c.packages[name] = p
	}
	p.lines, p.files = p.lines+lines, p.files+1
	p.documented = p.documented || f.Doc != nil
	c.code, c.files = c.code+lines, append(c.files, lines)
	for _, group := range f.Comments {
		c.comment += set.Position(group.End()).Line - set.Position(group.Pos()).Line + 1
	}
	for _, decl := range f.Decls {
		c.declaration(set, name, p, decl)
	}
	return nil
}

func (c *counts) tests(f *ast.File) {
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		switch {
		case !ok || fn.Recv != nil:
		case strings.HasPrefix(fn.Name.Name, "Fuzz"):
			c.fuzz++
		case strings.HasPrefix(fn.Name.Name, "Example"):
			c.examples++
		case strings.HasPrefix(fn.Name.Name, "Benchmark"):
			c.benchmarks++
		}
	}
}

func (c *counts) declaration(set *token.FileSet, name string, p *pkg, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		size := set.Position(d.End()).Line - set.Position(d.Pos()).Line + 1
		c.functions, c.parameters = append(c.functions, size), append(c.parameters, d.Type.Params.NumFields())
		if size > 60 {
			c.long++
		}
		if d.Recv != nil {
			c.methods[name+"."+receiver(d.Recv.List[0].Type)]++
		}
		if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
			c.export(p, d.Name, d.Doc, d.Recv == nil)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				c.export(p, s.Name, cmp.Or(s.Doc, d.Doc), true)
				if i, ok := s.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > 0 {
					c.interfaceSizes = append(c.interfaceSizes, i.Methods.NumFields())
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					c.export(p, n, cmp.Or(s.Doc, s.Comment, d.Doc), true)
				}
			}
		}
	}
}

// export counts an exported name; top says that it is one of the package itself.
func (c *counts) export(p *pkg, name *ast.Ident, doc *ast.CommentGroup, top bool) {
	if !name.IsExported() {
		return
	}
	c.exported++
	if doc != nil {
		c.documented++
	}
	if top {
		p.exported++
	}
}

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

// at returns percentiles, the last one being the largest number.
func at(numbers []int, percents ...int) string {
	slices.Sort(numbers)
	var texts []string
	for _, p := range percents {
		n := 0
		if len(numbers) > 0 {
			n = numbers[min(len(numbers)-1, len(numbers)*p/100)]
		}
		texts = append(texts, fmt.Sprint(n))
	}
	return strings.Join(texts, " / ")
}

func (c *counts) print(dir string) {
	var lines, exported []int
	files, documented := 0, 0
	for _, p := range c.packages {
		lines, exported, files = append(lines, p.lines), append(exported, p.exported), max(files, p.files)
		if p.documented {
			documented++
		}
	}
	largest := slices.MaxFunc(slices.Sorted(maps.Keys(c.methods)), func(a, b string) int { return c.methods[a] - c.methods[b] })
	row := func(what, value string) { fmt.Printf("| %s | %s |\n", what, value) }
	fmt.Println("| | |\n|---|---|")
	row("Go lines (no tests) / packages", fmt.Sprintf("%d / %d", c.code, len(c.packages)))
	row("file p50 / p90 / max", at(c.files, 50, 90, 100))
	row("function p50 / p90 / p99 / max", at(c.functions, 50, 90, 99, 100))
	row("functions > 60 lines", fmt.Sprint(c.long))
	row("exported per package p50 / p90 / max", at(exported, 50, 90, 100))
	row("methods per interface p50 / p90 / max (n)", fmt.Sprintf("%s (%d)", at(c.interfaceSizes, 50, 90, 100), len(c.interfaceSizes)))
	row("methods on the largest type", fmt.Sprintf("%d (%s)", c.methods[largest], strings.TrimPrefix(largest, dir+"/")))
	row("lines per package p50 / p90 / max", at(lines, 50, 90, 100))
	row("files in the largest package", fmt.Sprint(files))
	row("comment share", fmt.Sprintf("%.1f %%", 100*float64(c.comment)/float64(c.code)))
	row("test lines / code lines", fmt.Sprintf("%.2f", float64(c.test)/float64(c.code)))
	row("Fuzz / Example / Benchmark functions", fmt.Sprintf("%d / %d / %d", c.fuzz, c.examples, c.benchmarks))
	row("documented packages / exported names", fmt.Sprintf("%d/%d, %d/%d", documented, len(c.packages), c.documented, c.exported))
	row("parameters p90 / max", at(c.parameters, 90, 100))
	row("commit subject p50 / p90 / max", subjects(dir))
}

// subjects are the lengths of the last 200 commits' subjects; empty without a repository.
func subjects(dir string) string {
	out, err := exec.Command("git", "-C", dir, "log", "-200", "--format=%s").Output()
	if err != nil {
		return ""
	}
	var lengths []int
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		lengths = append(lengths, len([]rune(s.Text())))
	}
	return at(lengths, 50, 90, 100)
}
