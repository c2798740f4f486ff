package suites

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const output = `=== RUN   TestA
=== RUN   TestA/one
    a_test.go:1: all is well
=== RUN   TestA/two
=== PAUSE TestA/two
=== CONT  TestA/two
    a_test.go:2: it is broken
        in two lines
--- FAIL: TestA (0.00s)
    a_test.go:3: NOT RUN three: it needs a moon
    --- PASS: TestA/one (0.00s)
    --- FAIL: TestA/two (0.00s)
=== RUN   TestB
    b_test.go:1: no sun
--- SKIP: TestB (0.00s)
=== RUN   TestC
--- PASS: TestC (0.00s)
FAIL
`

func TestParse(t *testing.T) {
	want := Report{
		Passed: 2, Failed: []string{"TestA", "TestA/two"}, Skipped: []string{"TestB"}, NotRun: []string{"three: it needs a moon"},
		Output: "--- FAIL: TestA\n    a_test.go:3: NOT RUN three: it needs a moon\n" +
			"--- FAIL: TestA/two\n    a_test.go:2: it is broken\n        in two lines\n",
	}
	if diff := cmp.Diff(want, Parse(output)); diff != "" {
		t.Error(diff)
	}
}

// here is a lab that is this machine, in which labDir is another directory.
type here struct{ dir string }

func (h here) path(text string) string { return strings.ReplaceAll(text, labDir, h.dir) }

func (h here) Push(_ context.Context, from, to string) error {
	return exec.Command("cp", "-r", from, h.path(to)).Run()
}

func (h here) Output(_ context.Context, argv ...string) (string, error) {
	for i := range argv {
		argv[i] = h.path(argv[i])
	}
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	return string(out), err
}

func TestDo(t *testing.T) {
	var said bytes.Buffer
	lab := here{t.TempDir() + "/suites"}
	s := Suite{Name: "size", Package: "internal/size", Data: []string{"internal/size/testdata"}, Env: []string{"A=b"}, Limit: 60e9}
	if _, err := os.Stat("../../../" + s.Data[0]); err != nil {
		s.Data = nil
	}
	r, err := s.Do(t.Context(), lab, &said)
	if err != nil || r.Passed == 0 || said.Len() > 0 {
		t.Errorf("%+v, %v, said %q", r, err, said.String())
	}
	s.Run = "NoSuchTest"
	if _, err := s.Do(t.Context(), lab, &said); err == nil || !strings.Contains(err.Error(), "no test of suite size ran") {
		t.Errorf("without any test: %v", err)
	}
}

// TestPackages wants each suite's package and data to be there.
func TestPackages(t *testing.T) {
	for _, s := range All {
		for _, dir := range append([]string{s.Package}, s.Data...) {
			if info, err := os.Stat("../../../" + dir); err != nil || !info.IsDir() {
				t.Errorf("suite %s: %s is no directory: %v", s.Name, dir, err)
			}
		}
		if s.Limit == 0 {
			t.Errorf("suite %s has no limit", s.Name)
		}
	}
}
