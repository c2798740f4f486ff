package feature

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/image/oci/registrytest"
)

// TestResolve: the files come, below a directory that nobody can guess, as install.sh needs them;
// a second time only the registry's meaning of the version is asked for.
func TestResolve(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	digest := fx.push("a/f/go:1", zipped(t, archive(t,
		entry{Header: tarDir("./")}, file("./devcontainer-feature.json", `{"id": "go", /* 1 */ "version": "1.2.3", "options": {"version": {"default": "latest"}, "tools": {"type": "boolean", "default": true}},}`),
		file("./install.sh", "#!/bin/sh\necho $VERSION\n"), entry{Header: tarDir("./lib/")}, file("./lib/x", "x"), link("./lib/y", "../install.sh"),
	)))
	fx.local("mine", `{"id": "mine", "version": "1"}`)
	w := fx.wanted(`{"./mine": {}, "HOST/a/f/Go:1": {"version": "1.22"}}`)
	set, err := fx.resolve(w)
	if err != nil {
		t.Fatal(err)
	}
	if got := fx.order(set); !slices.Equal(got, []string{"./mine", "HOST/a/f/go:1"}) {
		t.Errorf("order: %q", got)
	}
	goFeature := set.Features[1]
	if goFeature.Digest != digest || goFeature.Version != "1.2.3" {
		t.Errorf("%+v", goFeature)
	}
	if got := goFeature.Variables(); !slices.Equal(got, []string{"TOOLS=true", "VERSION=1.22"}) {
		t.Errorf("variables: %q", got)
	}
	files := unpacked(t, goFeature.Pack())
	want := map[string]string{
		"/": "5 -rwxr-xr-x ", "/devcontainer-feature.json": "", "/install.sh": "0 -rwxr-xr-x #!/bin/sh\necho $VERSION\n",
		"/lib/": "5 -rwxr-xr-x ", "/lib/x": "0 -rwxr-xr-x x", "/lib/y": "2 -rwxr-xr-x ../install.sh",
	}
	for name, content := range want {
		if got, there := files[goFeature.Dir+name]; !there || content != "" && got != content {
			t.Errorf("%s is %q", name, got)
		}
	}
	if len(files) != len(want) || !strings.HasPrefix(goFeature.Dir, "tmp/banger-features-") || len(filepath.Dir(goFeature.Dir)) != len("tmp/banger-features-")+32 {
		t.Errorf("%s in %s", keys(files), goFeature.Dir)
	}
	fx.Requests()
	if _, err := fx.resolve(w); err != nil {
		t.Fatal(err)
	}
	if n := fx.Asked("/blobs/"); n != 0 {
		t.Errorf("%d requests for what is in the cache", n)
	}
	if left, _ := filepath.Glob(filepath.Join(fx.cache, "*")); len(left) != 2 { // lock and sha256
		t.Errorf("in the cache: %q", left)
	}
}

// TestCacheForgets what was not used for a month, and nothing else.
func TestCacheForgets(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("a/f/old:1", described(t, `{"id": "old"}`))
	fx.push("a/f/new:1", described(t, `{"id": "new"}`))
	if _, err := fx.resolve(fx.wanted(`{"HOST/a/f/old:1": {}}`)); err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(fx.cache, "sha256", "*"))
	if err != nil || len(blobs) != 1 {
		t.Fatalf("%q %v", blobs, err)
	}
	long := time.Now().Add(-unusedFor - time.Hour)
	if err := os.Chtimes(blobs[0], long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := fx.resolve(fx.wanted(`{"HOST/a/f/old:1": {}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(blobs[0]); err != nil {
		t.Errorf("what was just used went: %v", err)
	}
	if err := os.Chtimes(blobs[0], long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := fx.resolve(fx.wanted(`{"HOST/a/f/new:1": {}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(blobs[0]); err == nil {
		t.Error("what was not used for a month stayed")
	}
}

// TestOrder are the rules of the order, each with the features of one registry.
func TestOrder(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	for name, more := range map[string]string{
		"a": ``, "b": `"dependsOn": {"HOST/n/f/d:1": {"x": "1"}},`, "c": `"installsAfter": ["HOST/n/f/z", "HOST/n/f/nothere", "short"],`,
		"d": `"dependsOn": {"HOST/n/f/e": "2"},`, "e": ``, "z": ``, "new": `"legacyIds": ["former"],`, "late": `"installsAfter": ["HOST/n/f/former:9"],`,
	} {
		data := described(t, fx.named(`{`+more+`"id": "`+name+`"}`))
		fx.push("n/f/"+name+":1", data)
		fx.push("n/f/"+name+":latest", data)
	}
	for _, c := range []struct {
		features string
		override []string
		want     string
	}{
		{`{"HOST/n/f/z:1": {}, "HOST/n/f/a:1": {}}`, nil, "a:1 z:1"},
		{`{"HOST/n/f/c:1": {}, "HOST/n/f/z:1": {}}`, nil, "z:1 c:1"},
		{`{"HOST/n/f/c:1": {}, "HOST/n/f/a:1": {}}`, nil, "a:1 c:1"},
		{`{"HOST/n/f/b:1": {}, "HOST/n/f/z:1": {}}`, nil, "e z:1 d:1 b:1"},
		{`{"HOST/n/f/b:1": {}, "HOST/n/f/d:1": {"x": "1"}}`, nil, "e d:1 b:1"},
		{`{"HOST/n/f/b:1": {}, "HOST/n/f/d:1": {}}`, nil, "e d:1 d:1 b:1"}, // other options: another feature
		{`{"HOST/n/f/a:1": {}, "HOST/n/f/a": {}}`, nil, "a:1"},             // the same content
		{`{"HOST/n/f/a:1": {}, "HOST/n/f/a": {"o": true}}`, nil, "a:1 a"},
		{`{"HOST/n/f/a:1": {}, "HOST/n/f/z:1": {}, "HOST/n/f/e:1": {}}`, []string{"HOST/n/f/z", "HOST/n/f/e"}, "z:1 e:1 a:1"},
		{`{"HOST/n/f/c:1": {}, "HOST/n/f/z:1": {}, "HOST/n/f/a:1": {}}`, []string{"HOST/n/f/c", "HOST/n/f/gone"}, "a:1 z:1 c:1"},
		{`{"HOST/n/f/late:1": {}, "HOST/n/f/new:1": {}}`, nil, "new:1 late:1"},
	} {
		set, err := fx.resolve(fx.wanted(c.features, c.override...))
		if err != nil {
			t.Errorf("%s: %v", c.features, err)
			continue
		}
		if got := strings.ReplaceAll(strings.Join(fx.order(set), " "), "HOST/n/f/", ""); got != c.want {
			t.Errorf("%s, %q: %q, want %q", c.features, c.override, got, c.want)
		}
	}
	w := fx.wanted(`{"HOST/n/f/a:1": {}}`, "HOST/n/f/gone", "HOST/n/f/a")
	set, err := fx.resolve(w)
	if err != nil || len(set.Unknown(w.Override)) != 1 {
		t.Errorf("%v, %v", set, err)
	}
}

// TestCycles: what depends on itself is refused, and said.
func TestCycles(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("n/f/a:latest", described(t, fx.named(`{"id": "a", "dependsOn": {"HOST/n/f/b": {}}}`)))
	fx.push("n/f/b:latest", described(t, fx.named(`{"id": "b", "dependsOn": {"HOST/n/f/c": {}}}`)))
	fx.push("n/f/c:latest", described(t, fx.named(`{"id": "c", "dependsOn": {"HOST/n/f/a": {}}}`)))
	fx.push("n/f/self:latest", described(t, fx.named(`{"id": "self", "dependsOn": {"HOST/n/f/self": {}}}`)))
	fx.push("n/f/x:latest", described(t, fx.named(`{"id": "x", "installsAfter": ["HOST/n/f/y"]}`)))
	fx.push("n/f/y:latest", described(t, fx.named(`{"id": "y", "installsAfter": ["HOST/n/f/x"]}`)))
	fx.local("l", `{"id": "l", "dependsOn": {"./m": {}}}`)
	fx.local("m", `{"id": "m", "dependsOn": {"./l": {}}}`)
	for features, want := range map[string]string{
		`{"HOST/n/f/a": {}}`: "HOST/n/f/a, HOST/n/f/b, HOST/n/f/c", `{"HOST/n/f/self": {}}`: "HOST/n/f/self",
		`{"HOST/n/f/x": {}, "HOST/n/f/y": {}}`: "HOST/n/f/x, HOST/n/f/y", `{"./l": {}}`: "./l, ./m",
	} {
		_, err := fx.resolve(fx.wanted(features))
		if api.KindOf(err) != api.KindInvalid || !strings.HasSuffix(err.Error(), "each of these depends on another of them: "+fx.named(want)) {
			t.Errorf("%s: %v", features, err)
		}
	}
}

// TestKey: it is another key if anything is that decides what is installed here, and the same
// otherwise.
func TestKey(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.local("a", `{"id": "a", "dependsOn": {"./b": {}}}`)
	fx.local("b", `{"id": "b"}`)
	base := `{"./a": {"o": "1"}, "HOST/n/f/a": {}}`
	first := Key(fx.wanted(base))
	if again := Key(fx.wanted(base)); again != first {
		t.Error("the same is another")
	}
	seen := map[string]string{first: base}
	check := func(what string, w Wanted) {
		t.Helper()
		key := Key(w)
		if other, there := seen[key]; there {
			t.Errorf("%s is %s", what, other)
		}
		seen[key] = what
	}
	check("an option", fx.wanted(`{"./a": {"o": "2"}, "HOST/n/f/a": {}}`))
	check("a boolean", fx.wanted(`{"./a": {"o": true}, "HOST/n/f/a": {}}`))
	check("a text", fx.wanted(`{"./a": {"o": "1"}, "HOST/n/f/a": "1"}`))
	check("version", fx.wanted(`{"./a": {"o": "1"}, "HOST/n/f/a": {"version": "1"}}`))
	check("another tag", fx.wanted(`{"./a": {"o": "1"}, "HOST/n/f/a:2": {}}`))
	check("an order", fx.wanted(base, "./a"))
	fx.write(folder+"/b/more", "x")
	check("a file of what a local one depends on", fx.wanted(base))
	fx.write(folder+"/b/more", "y")
	check("its content", fx.wanted(base))
}
