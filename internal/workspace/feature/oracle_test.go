package feature

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/internal/image/oci/registrytest"
	"banger/internal/workspace/worktest"
)

// asking runs that program for the workspace.
type asking struct {
	*fixture
	program string
}

func askOracle(t *testing.T) asking {
	program := worktest.Oracle(t) // npm uses the user's own settings
	fx := newFixture(t, registrytest.Options{TLS: true})
	fx.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(fx.ca, fx.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	return asking{fx, program}
}

func (a asking) run(args ...string) ([]byte, error) {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), "node", append([]string{a.program}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+a.ca, "TMPDIR="+a.t.TempDir(), "https_proxy=", "HTTPS_PROXY=", "http_proxy=", "HTTP_PROXY=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, out, stderr.Bytes())
	}
	return out, err
}

// configure writes the devcontainer.json.
func (a asking) configure(features string, override []string) {
	a.t.Helper()
	list, err := json.Marshal(append([]string{}, override...))
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(".devcontainer/devcontainer.json", a.named(`{"image": "debian", "features": `+features+`, "overrideFeatureInstallOrder": `+string(list)+`}`))
}

// installing is what is installed, in the order.
type installing struct {
	ID      string
	Options any
}

func (a asking) theirs() (all []installing) {
	a.t.Helper()
	out, err := a.run("features", "resolve-dependencies", "--workspace-folder", a.top)
	if err != nil {
		a.t.Fatal(err)
	}
	var said struct{ InstallOrder []installing }
	if err := json.Unmarshal(out[bytes.IndexByte(out, '{'):], &said); err != nil { // a diagram comes before
		a.t.Fatalf("%v: %s", err, out)
	}
	return said.InstallOrder
}

func (a asking) ours(features string, override []string) (all []installing) {
	a.t.Helper()
	set, err := a.resolve(a.wanted(features, override...))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range set.Features {
		i := installing{f.ID.String(), any(f.Options.Values())}
		if f.ID.local == "" {
			i.ID = f.ID.resource + "@" + f.Digest
		}
		if f.Options.short {
			i.Options = f.Options.values["version"]
		}
		all = append(all, i)
	}
	return all
}

// orders are features and their overrideFeatureInstallOrder.
var orders = []struct {
	features string
	override []string
}{
	{`{"HOST/n/f/z:1": {}, "HOST/n/f/a:1": {}, "HOST/n/f/a_b:1": {}, "HOST/n/f/a-b:1": {}, "HOST/n/f/a1:1": {}, "HOST/n/g/a:1": {}, "HOST/n/f/x/a:1": {}}`, nil},
	{`{"HOST/n/f/c:1": {}, "HOST/n/f/z:1": {}, "HOST/n/f/a:1": {}, "./y": {}}`, nil},
	{`{"HOST/n/f/b:1": {}, "HOST/n/f/z:1": {}, "HOST/n/f/d:1": {}, "HOST/n/f/a:2": {}}`, nil},
	{`{"HOST/n/f/a:1": {"o": "1"}, "HOST/n/f/a": {"o": "0"}, "HOST/n/f/a:2": {}, "HOST/n/f/a:10": {"o": true, "p": false}}`, nil},
	{`{"HOST/n/f/c:1": {}, "HOST/n/f/z:1": {}, "HOST/n/f/a:1": {}, "HOST/n/f/e:1": "3"}`, []string{"HOST/n/f/e", "HOST/n/f/c", "HOST/n/f/z"}},
	{`{"HOST/n/f/late:1": {}, "HOST/n/f/new:1": {}, "HOST/n/f/a:1": {}}`, []string{"HOST/n/f/former"}},
	{`{"./y": {"o": "1"}, "./x": {}, "HOST/n/f/a:1": {}}`, []string{"HOST/n/f/a"}},
}

// TestOracleOrder has the order of that program.
func TestOracleOrder(t *testing.T) {
	a := askOracle(t)
	for name, more := range map[string]string{
		"a": ``, "b": `"dependsOn": {"HOST/n/f/d:1": {"x": "1"}},`, "c": `"installsAfter": ["HOST/n/f/z"],`, "a_b": ``, "a-b": ``, "a1": ``, "x/a": ``,
		"d": `"dependsOn": {"HOST/n/f/e": "2"},`, "e": ``, "z": ``, "new": `"legacyIds": ["former"],`, "late": `"installsAfter": ["HOST/n/f/former"],`,
		"former": `"currentId": "new", "legacyIds": ["former"],`,
	} {
		for _, tag := range []string{"1", "latest"} {
			a.push("n/f/"+name+":"+tag, described(t, a.named(`{`+more+`"id": "`+filepath.Base(name)+`", "version": "1.0.0", "name": "x"}`)))
		}
	}
	a.push("n/g/a:1", described(t, `{"id": "a", "version": "1.0.0", "name": "g"}`))
	a.push("n/f/a:2", described(t, `{"id": "a", "version": "2.0.0", "name": "x"}`))
	a.push("n/f/a:10", described(t, `{"id": "a", "version": "10.0.0", "name": "x"}`))
	a.local("x", `{"id": "x", "version": "1.0.0", "name": "x"}`)
	a.local("y", `{"id": "y", "version": "1.0.0", "name": "x", "dependsOn": {"./x": {"flag": true}}}`)
	for _, o := range orders {
		a.configure(o.features, o.override)
		theirs, ours := a.theirs(), a.ours(o.features, o.override)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s, %q: -theirs +ours\n%s", o.features, o.override, diff)
		}
		if len(theirs) < 3 {
			t.Errorf("%s: they install %v", o.features, theirs)
		}
	}
	a.local("x", `{"id": "x", "version": "1.0.0", "name": "x", "dependsOn": {"./y": {}}}`)
	a.configure(`{"./x": {}}`, nil)
	if _, err := a.run("features", "resolve-dependencies", "--workspace-folder", a.top); err == nil {
		t.Error("they install a cycle")
	}
	if _, err := a.resolve(a.wanted(`{"./x": {}}`)); err == nil {
		t.Error("we install a cycle")
	}
}

// noDocker stands for Docker in a build: it says what the image is like, and stores what it is to
// build from.
const noDocker = `#!/bin/sh
case "$*" in
*inspect*) echo '[{"Id":"x","Architecture":"amd64","Os":"linux","Config":{"User":"","Env":["PATH=/bin"],"Labels":{}}}]' ;;
"buildx version") echo "github.com/docker/buildx v0.11.2 x" ;;
*build*)
	for a; do case "$a" in dev_containers_feature_content_source=*) cp -r "${a#*=}" "$OUT" ;; esac; done
	exit 1 ;;
esac
`

// TestOracleVariables has the variables of that program.
func TestOracleVariables(t *testing.T) {
	a := askOracle(t)
	options := `"options": {"version": {"type": "string", "default": "latest"}, "Some-Flag": {"type": "boolean", "default": true}, "1st_é": {"default": "x y"}, "none": {"type": "string"}}`
	for _, id := range []string{"a", "b", "c"} {
		a.local(id, `{"id": "`+id+`", "version": "1.0.0", "name": "x", `+options+`}`)
	}
	a.local("d", `{"id": "d", "version": "1.0.0", "name": "x", "options": {"o": {"default": false}}}`)
	features := `{"./a": {}, "./b": "1.2", "./c": {"version": "", "Some-Flag": false, "other.one": "1"}, "./d": {}}`
	a.configure(features, nil)
	docker, out := filepath.Join(t.TempDir(), "docker"), filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(docker, []byte(noDocker), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OUT", out)
	said, err := a.run("build", "--workspace-folder", a.top, "--docker-path", docker)
	if _, statErr := os.Stat(out); statErr != nil {
		t.Fatalf("it built nothing: %v: %s", err, said)
	}
	set, err := a.resolve(a.wanted(features))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range set.Features {
		data, err := os.ReadFile(filepath.Join(out, f.Name+"_"+strconv.Itoa(i), "devcontainer-features.env"))
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		theirs := strings.Split(strings.ReplaceAll(string(data), `"`, ""), "\n") // no value has quotes
		ours := f.Variables()
		slices.Sort(theirs)
		slices.Sort(ours)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s: -theirs +ours\n%s", f.ID, diff)
		}
	}
}

// TestOracleCollation compares texts as that program does.
func TestOracleCollation(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("NOT RUN: the order of texts: this machine has no node")
	}
	var texts []string
	for c := byte(' ' + 1); c < 0x7f; c++ {
		texts = append(texts, string(c), "a"+string(c), string(c)+"a", "a"+string(c)+"b", "A"+string(c))
	}
	list, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", "-e", `console.log(JSON.stringify(JSON.parse(process.argv[1]).sort((a, b) => a.localeCompare(b, "en"))))`, string(list)).Output()
	var theirs []string
	if err == nil {
		err = json.Unmarshal(out, &theirs)
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(texts, collate)
	for i := range texts {
		if texts[i] != theirs[i] {
			t.Fatalf("%d: %q, theirs is %q", i, texts[max(0, i-3):i+4], theirs[max(0, i-3):i+4])
		}
	}
}
