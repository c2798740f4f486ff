package imagebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/gitrepo"
)

// building is a build of a small workspace.
func building(t *testing.T) (Build, *guest, *bytes.Buffer) {
	t.Helper()
	r := workspace(t, map[string]string{"d/Dockerfile": "FROM scratch", "d/a": "A", "b": "B", "d/.dockerignore": "x\n"})
	s, err := open(t, r, gitrepo.Select{}, devcontainer.Build{
		Dockerfile: "d/Dockerfile", Context: "d", Target: "--all; x", Args: map[string]string{"B": "$(id) 'x' \"y\"\n-f", "A": ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	b := Build{
		Source: s, Dir: t.TempDir(), Show: &shown,
		Registries: Registries{Default: "registry.example", Mirrors: map[string]string{"z.example": "m.example/z", "a.example": "m.example:5000"}, CA: []byte("PEM")},
	}
	return b, &guest{files: map[string]string{}, archive: result("an image")}, &shown
}

// TestRun: the guest gets the context and the rules, each argument is one, and the archive is its file.
func TestRun(t *testing.T) {
	b, g, shown := building(t)
	var steps []string
	b.Report = func(p api.Progress) { steps = append(steps, p.Step) }
	file, err := b.Run(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); string(content) != "an image" || path.Dir(file) != b.Dir {
		t.Errorf("%s: %q, %v", file, content, err)
	}
	want := map[string]string{"d/.dockerignore": "x\n", "d/Dockerfile": "FROM scratch", "d/a": "A"}
	if diff := cmp.Diff(want, g.sent()); diff != "" {
		t.Error(diff)
	}
	for name, content := range map[string]string{
		"Dockerfile": "FROM scratch", "ignore": "x\n", "ca.pem": "PEM", "tmp/": "", "context/d/": "",
		"registries.conf": `unqualified-search-registries = ["registry.example"]
short-name-mode = "disabled"

[[registry]]
location = "a.example"
[[registry.mirror]]
location = "m.example:5000"

[[registry]]
location = "z.example"
[[registry.mirror]]
location = "m.example/z"
`,
	} {
		got, found := g.files[dir+"/"+name]
		if !found || got != content {
			t.Errorf("%s: %q, %v", name, got, found)
		}
	}
	argv := []string{"/bin/sh", "-c", script, "build", "--build-arg=A=", "--build-arg=B=$(id) 'x' \"y\"\n-f", "--target=--all; x", "context/d"}
	if diff := cmp.Diff([]api.Exec{{Argv: argv, Dir: dir}}, g.ran); diff != "" {
		t.Error(diff)
	}
	if got := strings.Join(steps, " "); shown.Len() != 0 || !strings.HasPrefix(got, "context ") || !strings.HasSuffix(got, " build image") {
		t.Errorf("progress: %s; shown: %s", got, shown)
	}
}

// TestFailures: what fails says so, with the end of the output and what to type; no file stays.
func TestFailures(t *testing.T) {
	says := func(text string, code int) func(context.Context, io.Writer) (int, error) {
		return func(_ context.Context, out io.Writer) (int, error) {
			_, _ = io.WriteString(out, text)
			return code, nil
		}
	}
	file := tar.Header{Typeflag: tar.TypeReg, Name: resultName, Mode: 0o600, Size: 5}
	large := file
	large.Size = maxArchive + 1
	for name, c := range map[string]struct {
		change func(*guest)
		kind   api.Kind
		want   string
		hint   string
	}{
		"a step":      {func(g *guest) { g.run = says("STEP 2/2: RUN x\nx: not found\n", 127) }, api.KindInvalid, "exit status 127", "change the Dockerfile"},
		"no network":  {func(g *guest) { g.run = says("dial tcp 192.0.2.1:443: connect: network is unreachable", 125) }, api.KindInvalid, "exit status 125", "--network nat"},
		"no registry": {func(g *guest) { g.run = says("dial tcp: lookup r.example: no such host", 125) }, api.KindInvalid, "exit status 125", "cannot reach the registry"},
		"a password":  {func(g *guest) { g.run = says("unauthorized: authentication required", 125) }, api.KindInvalid, "exit status 125", "need a password"},
		"no file": {func(g *guest) {
			g.run = says(`Error: building at STEP "COPY x /": copier: stat: "/x": no such file`, 125)
		}, api.KindInvalid, "exit status 125", "--include-ignored"},
		"no buildah": {func(g *guest) { g.run = says("", noProgram) }, api.KindInvalid, "has no program buildah", "builder_image"},
		"lost": {func(g *guest) {
			g.run = func(context.Context, io.Writer) (int, error) {
				return 0, api.Errorf(api.KindConflict, "the VM stopped")
			}
		}, api.KindConflict, "the VM stopped", ""},
		"not sent":  {func(g *guest) { g.putErr = api.Errorf(api.KindNoSpace, "the guest's disk is full") }, api.KindNoSpace, "disk is full", ""},
		"endless":   {func(g *guest) { g.archive = archived(large, "", 0) }, api.KindInvalid, "larger than 32 GiB", ""},
		"truncated": {func(g *guest) { g.archive = archived(file, "1234", 512+4) }, api.KindInvalid, "unexpected EOF", ""},
		"no header": {func(g *guest) { g.archive = archived(file, "12345", 100) }, api.KindInvalid, "unexpected EOF", ""},
		"nothing":   {func(g *guest) { g.archive = func() io.Reader { return strings.NewReader("") } }, api.KindInvalid, "unexpected EOF", ""},
		"empty":     {func(g *guest) { g.archive = result("") }, api.KindInvalid, "it is not a file", ""},
		"a link": {func(g *guest) {
			g.archive = archived(tar.Header{Typeflag: tar.TypeSymlink, Name: resultName, Linkname: "/etc/passwd"}, "", 0)
		}, api.KindInvalid, "it is not a file", ""},
		"a directory":  {func(g *guest) { g.archive = archived(tar.Header{Typeflag: tar.TypeDir, Name: resultName + "/"}, "", 0) }, api.KindInvalid, "it is not a file", ""},
		"not readable": {func(g *guest) { g.archive = func() io.Reader { return failing{} } }, api.KindConflict, "the VM stopped", ""},
	} {
		b, g, shown := building(t)
		c.change(g)
		file, err := b.Run(t.Context(), g)
		e := api.AsError(err)
		if file != "" || e == nil || e.Kind != c.kind || !strings.Contains(err.Error(), c.want) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%s: %q, %v (%+v)", name, file, err, e)
		}
		if name == "a step" && !strings.Contains(shown.String(), "x: not found\n") {
			t.Errorf("shown: %q", shown)
		}
		if left, _ := os.ReadDir(b.Dir); len(left) > 0 {
			t.Errorf("%s: %s stays", name, left[0].Name())
		}
	}
}

// failing is the stream of a guest that ends.
type failing struct{}

// Read implements io.Reader.
func (failing) Read([]byte) (int, error) {
	return 0, api.Errorf(api.KindConflict, "the VM stopped")
}

// TestCancelled: a Dockerfile that runs for ever ends with the user's word.
func TestCancelled(t *testing.T) {
	b, g, _ := building(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	g.run = func(ctx context.Context, _ io.Writer) (int, error) {
		cancel(errors.New("ctrl-C"))
		<-ctx.Done()
		return 129, nil // how buildah ends then is not of interest
	}
	if _, err := b.Run(ctx, g); api.KindOf(err) != api.KindCanceled {
		t.Error(err)
	}
}

// TestOutput: however much there is, the end of it is kept, and lines are progress as far as they
// announce a step.
func TestOutput(t *testing.T) {
	var got []string
	o := &output{report: func(p api.Progress) { got = append(got, fmt.Sprintf("%d/%d %s", p.Done, p.Total, p.Message)) }}
	write := func(text string) {
		if n, err := io.WriteString(o, text); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	write("ST")
	write("EP 1/3: FROM x\nother\nSTEP x/3: y\n[1/2] STEP 2/3: RUN a\n\nSTEP 3/3: " + strings.Repeat("y", 2*maxLine) + "\nSTEP 99999999999999999999/3: z\n")
	want := []string{"1/3 building the image: FROM x", "2/3 building the image: RUN a", "3/3 building the image: " + strings.Repeat("y", maxLine-len("STEP 3/3: "))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	block := strings.Repeat("0123456789abcde\n", 1000)
	for range 1000 {
		write(block)
	}
	write(strings.Repeat("x", 5*maxTail))
	write("\nthe end\n")
	if cap(o.tail) > 8*maxTail || cap(o.line) > 4*maxLine {
		t.Errorf("%d and %d bytes are kept", cap(o.tail), cap(o.line))
	}
	if last := string(o.last()); len(last) > maxTail || !strings.HasSuffix(last, "the end\n") {
		t.Errorf("%d bytes, %q", len(last), last)
	}
	small := &output{report: func(api.Progress) {}}
	_, _ = io.WriteString(small, "one\ntwo\n")
	if string(small.last()) != "one\ntwo\n" {
		t.Errorf("%q", small.last())
	}
}
