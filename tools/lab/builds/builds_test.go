package builds

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/update/release"
	"banger/test/harness"
	"banger/test/lab/versions"
)

func checkout(t *testing.T) (dir string, files []string) {
	t.Helper()
	dir, err := harness.Repository()
	if err == nil {
		files, err = sources(t.Context(), dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, files
}

// TestEditsApply: every edit finds its place in the sources as they are.
func TestEditsApply(t *testing.T) {
	repository, files := checkout(t)
	for _, v := range versions.All {
		dir := t.TempDir()
		if err := copyFiles(repository, files, dir); err != nil {
			t.Fatal(err)
		}
		if err := apply(v, dir); err != nil {
			t.Error(err)
		}
		for _, e := range v.Edits {
			path := filepath.Join(dir, e.Path)
			if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), e.New) {
				t.Errorf("%s: %s lacks its edit: %v", v.Name, e.Path, err)
			}
			if strings.HasSuffix(path, ".go") {
				if _, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution); err != nil {
					t.Errorf("%s: %v", v.Name, err)
				}
			}
		}
	}
}

func TestEditsThatDoNotFit(t *testing.T) {
	for name, e := range map[string]versions.Edit{
		"not there":     {Path: "file", Old: "nonesuch", New: "x"},
		"there twice":   {Path: "file", Old: "a", New: "x"},
		"no file":       {Path: "other", Old: "a", New: "x"},
		"exists":        {Path: "file", Old: "", New: "x"},
		"below no file": {Path: "file/below", Old: "", New: "x"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("a b a"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := apply(versions.Version{Name: "v1.0.0", Edits: []versions.Edit{e}}, dir); err == nil {
			t.Errorf("%s: it was made", name)
		}
	}
}

// TestNames: versions are those of releases, each is said once, and the scenarios'
// first one is older than all that they update to.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range versions.All {
		if !release.ValidVersion(v.Name) || seen[v.Name] {
			t.Errorf("%s is no version, or there twice", v.Name)
		}
		seen[v.Name] = true
		if v.Installed != (release.Compare(v.Name, versions.Base) <= 0) {
			t.Errorf("%s is installed, or is updated to: not both", v.Name)
		}
	}
	for _, name := range append(versions.Offered(), versions.Older, versions.Base, versions.Good) {
		if !seen[name] {
			t.Errorf("there is no version %s", name)
		}
	}
}

// TestKey: the key changes with what the programs are made of, and with nothing else.
func TestKey(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := write(filepath.Join(dir, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	digest := func(paths ...string) string {
		k, err := key(dir, paths)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	put("a", "one")
	put("b", "two")
	first := digest("a", "b")
	put("c", "three")
	if digest("a", "b") != first || digest("a", "b", "gone") != first {
		t.Error("it changes with what does not count")
	}
	seen := map[string]string{first: "the first"}
	differs := func(what, k string) {
		if other, there := seen[k]; there {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[k] = what
	}
	differs("one file more", digest("a", "b", "c"))
	put("a", "ONE")
	differs("another text", digest("a", "b"))
	put("a", "onet")
	put("b", "wo")
	differs("another border", digest("a", "b"))
}

// TestSources: tests do not count, what is embedded does.
func TestSources(t *testing.T) {
	_, files := checkout(t)
	has := func(path string) bool {
		for _, f := range files {
			if f == path {
				return true
			}
		}
		return false
	}
	for path, want := range map[string]bool{
		"go.mod": true, "cmd/banger/main.go": true, "internal/system/units/bangerd.service": true, "internal/store/migrations/0001_initial.sql": true,
		"internal/store/store_test.go": false, "README.md": false,
	} {
		if has(path) != want {
			t.Errorf("%s: %v, not %v", path, !want, want)
		}
	}
}
