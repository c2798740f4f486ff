package dist

import (
	"bytes"
	"encoding/json"
	"regexp"
	"runtime/debug"
	"slices"
	"testing"
)

func someLinked() []Linked {
	var all []Linked
	for _, arch := range Platforms {
		all = append(all, Linked{Program: "banger", Arch: arch, Go: "go1.26.8", SHA256: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
			Modules: []debug.Module{
				{Path: "github.com/BurntSushi/toml", Version: "v1.6.0", Sum: "h1:abc="},
				{Path: "example.com/old", Version: "v3.0.0+incompatible"},
			}})
	}
	return all
}

func TestSBOM(t *testing.T) {
	s := Source{Version: "v1.2.3", Commit: "0123456789ab", Time: at}
	data, err := SBOM(s, someLinked())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := SBOM(s, someLinked()); err != nil || !bytes.Equal(data, again) {
		t.Error("the same programs give other bytes", err)
	}
	b := checkSBOM(t, data)
	var libraries []string
	for _, c := range b.Components {
		if c.Type == "library" {
			libraries = append(libraries, c.PURL)
		}
	}
	want := []string{"pkg:golang/example.com/old@v3.0.0%2Bincompatible", "pkg:golang/github.com/burntsushi/toml@v1.6.0", "pkg:golang/std@1.26.8"}
	if !slices.Equal(libraries, want) {
		t.Errorf("libraries: %v", libraries)
	}
	for _, d := range b.Dependencies[1:] {
		if !slices.Equal(d.DependsOn, want) {
			t.Errorf("%s depends on %v", d.Ref, d.DependsOn)
		}
	}
}

// sbomFields are the fields that CycloneDX 1.6's schema knows, of those objects
// that are written here; in the order of how they are nested. (bom-1.6.schema.json,
// which allows no others: additionalProperties is false.)
var sbomFields = map[string][]string{
	"":           {"bomFormat", "specVersion", "version", "metadata", "components", "dependencies"},
	"metadata":   {"timestamp", "component"},
	"component":  {"type", "bom-ref", "name", "version", "hashes", "purl", "properties"},
	"hash":       {"alg", "content"},
	"property":   {"name", "value"},
	"dependency": {"ref", "dependsOn"},
}

// checkSBOM holds a document to the parts of CycloneDX's schema and prose that
// bear on it.
func checkSBOM(t *testing.T, data []byte) sbom {
	t.Helper()
	var whole map[string]any
	var b sbom
	if err := json.Unmarshal(data, &whole); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	checkFields(t, "", whole)
	if b.Format != "CycloneDX" || b.Spec != "1.6" || b.Version < 1 {
		t.Errorf("it says that it is %s %s, version %d", b.Format, b.Spec, b.Version)
	}
	// date-time, RFC 3339.
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(b.Metadata.Timestamp) {
		t.Errorf("timestamp %q", b.Metadata.Timestamp)
	}
	refs := map[string]bool{b.Metadata.Component.Ref: true}
	for _, c := range b.Components {
		if refs[c.Ref] { // "Every bom-ref must be unique within the BOM."
			t.Errorf("%s is there twice", c.Ref)
		}
		refs[c.Ref] = true
		checkComponent(t, c)
	}
	for _, d := range b.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !refs[ref] {
				t.Errorf("there is no %s to depend on", ref)
			}
		}
	}
	return b
}

func checkComponent(t *testing.T, c sbomComponent) {
	t.Helper()
	if c.Name == "" || c.Version == "" || !slices.Contains([]string{"application", "library"}, c.Type) {
		t.Errorf("component %+v", c)
	}
	for _, h := range c.Hashes {
		if h.Algorithm != "SHA-256" || !regexp.MustCompile(`^[a-f0-9]{64}$`).MatchString(h.Content) {
			t.Errorf("%s has the hash %+v", c.Ref, h)
		}
	}
	if c.Type == "library" && !regexp.MustCompile(`^pkg:golang/[a-z0-9./~_-]+@[0-9A-Za-z.%-]+$`).MatchString(c.PURL) {
		t.Errorf("%s is no package URL", c.PURL)
	}
}

func checkFields(t *testing.T, kind string, object map[string]any) {
	t.Helper()
	inner := map[string]string{
		"metadata": "metadata", "component": "component", "components": "component",
		"hashes": "hash", "properties": "property", "dependencies": "dependency",
	}
	for name, value := range object {
		if !slices.Contains(sbomFields[kind], name) {
			t.Errorf("%s has a field %q", kind, name)
		}
		switch v := value.(type) {
		case map[string]any:
			checkFields(t, inner[name], v)
		case []any:
			for _, e := range v {
				if o, ok := e.(map[string]any); ok {
					checkFields(t, inner[name], o)
				}
			}
		}
	}
}
