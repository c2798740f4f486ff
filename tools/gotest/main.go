// Gotest runs `go test` and prints at the end how many tests passed, failed and were
// skipped, the last two by name. Arguments are those of go test.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest: cannot run go test:", err)
		os.Exit(1)
	}
	t := newTally(os.Stdout)
	t.read(out)
	err = cmd.Wait()
	t.close()
	if err != nil || t.failed > 0 {
		os.Exit(1)
	}
	if t.passed == 0 {
		fmt.Fprintln(os.Stderr, "gotest: no test ran")
		os.Exit(1)
	}
}

type tally struct {
	w                       io.Writer
	passed, failed, skipped int
	output                  map[string][]string // of tests and packages still running
	skips                   []string
}

func newTally(w io.Writer) *tally { return &tally{w: w, output: map[string][]string{}} }

func (t *tally) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(t.w, lines.Text()) // such as a build error
			continue
		}
		t.take(e)
	}
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		t.output[key] = append(t.output[key], e.Output)
		if e.Action == "build-output" {
			fmt.Fprint(t.w, e.Output)
		}
		return
	case "pass":
		if e.Test == "" {
			fmt.Fprintf(t.w, "ok    %-40s %6.1fs\n", e.Package, e.Elapsed)
		} else {
			t.passed++
		}
	case "fail":
		fmt.Fprintf(t.w, "FAIL  %s %s\n%s", e.Package, e.Test, strings.Join(t.output[key], ""))
		if e.Test != "" {
			t.failed++
		} else {
			t.unfinished(e.Package)
		}
	case "skip":
		if e.Test != "" {
			t.skipped++
			t.skips = append(t.skips, key+": "+reason(t.output[key]))
		}
	default:
		return
	}
	delete(t.output, key)
}

// unfinished prints the last output of tests that did not end, because the whole
// program ended; one of them contains the reason.
func (t *tally) unfinished(pkg string) {
	for key, output := range t.output {
		if test, ours := strings.CutPrefix(key, pkg+" "); ours && test != "" {
			fmt.Fprintf(t.w, "%s:\n%s", key, strings.Join(output[max(0, len(output)-lastLines):], ""))
			delete(t.output, key)
		}
	}
}

// lastLines is enough for a panic with the stack of its goroutine.
const lastLines = 80

// reason returns the text of a t.Skip: the line that is not the runner's own.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}

func (t *tally) close() {
	for _, s := range t.skips {
		fmt.Fprintln(t.w, "skipped:", s)
	}
	fmt.Fprintf(t.w, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
}
