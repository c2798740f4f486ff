package execx

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"banger/api"
)

// TestAFullDiskIsRecognised: as programs in C and in Go say it.
func TestAFullDiskIsRecognised(t *testing.T) {
	for text, want := range map[string]api.Kind{
		"fatal: unable to write: No space left on device": api.KindNoSpace,
		"write x: no space left on device":                api.KindNoSpace,
		"cp: error writing 'x': Disk quota exceeded":      api.KindNoSpace,
		"cannot write": api.KindInternal,
	} {
		err := Run(t.Context(), Cmd{Name: "sh", Args: []string{"-c", "echo \"$1\" >&2; exit 1", "sh", text}})
		if api.KindOf(err) != want {
			t.Errorf("%q is of kind %s: %v", text, api.KindOf(err), err)
		}
	}
}

// TestLines: of standard error as it comes, also of programs that show progress, however it is cut.
func TestLines(t *testing.T) {
	const text = "one\r\n\n50%\r100%\r done\nlast\r"
	want := []string{"one", "", "50%", "100%", " done", "last"}
	for size := range len(text) {
		var got []string
		w := lineWriter{each: func(line string) { got = append(got, line) }}
		for chunk := range slices.Chunk([]byte(text), size+1) {
			fmt.Fprint(&w, string(chunk))
		}
		w.flush()
		if !slices.Equal(got, want) {
			t.Errorf("in chunks of %d: %q", size+1, got)
		}
	}
	var got bytes.Buffer
	err := Run(t.Context(), Cmd{Name: "sh", Args: []string{"-c", `printf '1\r2\r' >&2`}, Stderr: func(line string) { got.WriteString(line + ";") }})
	if err != nil || strings.TrimSuffix(got.String(), ";") != "1;2" {
		t.Errorf("%q (%v)", got.String(), err)
	}
}
