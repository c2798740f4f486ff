package tomlline

import (
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

const document = `# a comment with [x] and a = 1
image = "debian" # image
setup = """
image = "no"
[files]
\""" again = 2
"""""
list = [ # begins
  "one", 'tw#o]',
  ["x",
   "y"],
  {a = 1, b.c = [2,
    3]},
]
raw = '''
list = 3
'''
"a.b" = { "c d" = 1, 'e' = "}" }
when = 1979-05-27 07:32:00
[env]
A = "1"
[[files]]
host = "a"
[[files]]
host = "b"
  [files.sub]
  x = 1
  [[files.more]]
  y = 2
[deep.er.still]
z = 0
"\u0041" = 1
`

func TestLines(t *testing.T) {
	var all map[string]any
	if _, err := toml.Decode(document, &all); err != nil {
		t.Fatal(err)
	}
	x := Of(document)
	for path, want := range map[string]int{
		"image": 2, "setup": 3, "list": 8, "list/#0": 9, "list/#1": 9, "list/#2/#0": 10, "list/#2/#1": 11,
		"list/#3/a": 12, "list/#3/b/c": 12, "list/#3/b/c/#1": 13, "raw": 15, "a.b": 18, "a.b/c d": 18, "a.b/e": 18,
		"when": 19, "env": 20, "env/A": 21, "files": 22, "files/#0": 22, "files/#0/host": 23, "files/#1": 24, "files/#1/host": 25,
		"files/#1/sub": 26, "files/#1/sub/x": 27, "files/#1/more": 28, "files/#1/more/#0/y": 29,
		"deep": 30, "deep/er": 30, "deep/er/still/z": 31, "deep/er/still/A": 32,
		"files/#1/none": 24, "none": 1, "env/none/none": 20,
	} {
		if got := x.Line(strings.Split(path, "/")...); got != want {
			t.Errorf("%s is on line %d, want %d", path, got, want)
		}
	}
}

// leaves calls do with the path of each value that is not a table or a list.
func leaves(v any, path []string, do func(path []string)) {
	inner := func(part string, v any) { leaves(v, append(path[:len(path):len(path)], part), do) }
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			inner(key, value)
		}
	case []any:
		for i, value := range v {
			inner(Item(i), value)
		}
	case []map[string]any:
		for i, value := range v {
			inner(Item(i), value)
		}
	default:
		do(path)
	}
}

// FuzzOf: each value of a document has a line of its own path, and in no text does Of fail.
func FuzzOf(f *testing.F) {
	f.Add(document)
	f.Add("a = 1\r\nb.\"c\" = '''x\r\n'''\r\n[ d . e ]\r\nf=[\r\n]\r\n")
	f.Add("a = {b = 1,\n c = 2,}\n[[x.y]]\n[[x.y]]\nz=[[1],[[2]]]")
	f.Add("a = [")
	f.Fuzz(func(t *testing.T, text string) {
		x := Of(text)
		var all map[string]any
		if x.Deep() != 0 {
			return
		}
		if _, err := toml.Decode(text, &all); err != nil {
			return
		}
		most := strings.Count(text, "\n") + 1
		leaves(all, nil, func(path []string) {
			if line := x.lines[joined(path)]; line < 1 || line > most {
				t.Errorf("%q is on line %d of %d in %q", path, line, most, text)
			}
		})
	})
}

// TestHostileDocuments: what would keep package toml busy is found at once.
func TestHostileDocuments(t *testing.T) {
	const n = 30_000
	for what, text := range map[string]string{
		"brackets":     "a = [\n" + strings.Repeat("[", n) + strings.Repeat("]", n),
		"open":         "a = [\n" + strings.Repeat("[", n),
		"tables":       "a = [\n" + strings.Repeat("{a=", n) + strings.Repeat("}", n),
		"a dotted key": "a = 1\nb" + strings.Repeat(".a", n) + " = 1",
		"a header":     "a = 1\n[" + strings.Repeat("a.", n) + "a]\nb = 1\n",
		"tables of":    "a = 1\n[[" + strings.Repeat("b.", n) + "a]]\nb = 1\n",
		"16 and one":   "[a.a.a.a.a.a.a.a]\na = {a.a.a.a.a.a.a = [1]}\n",
	} {
		begin := time.Now()
		if line := Of(text).Deep(); line != 2 {
			t.Errorf("%s: line %d", what, line)
		}
		if took := time.Since(begin); took > 2*time.Second { // milliseconds, on an idle machine
			t.Errorf("%s: it takes %s", what, took)
		}
	}
	for _, text := range []string{strings.Repeat("[[a]]\n", n), "[a.a.a.a.a.a.a.a]\na = {a.a.a.a.a.a.a = 1}\n", strings.Repeat("a = [", 3)} {
		if line := Of(text).Deep(); line != 0 {
			t.Errorf("%.40q is too deep on line %d", text, line)
		}
	}
}
