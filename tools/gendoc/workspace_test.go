package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"banger/internal/workspace/project"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaOf compiles the schema that is checked in, which also holds it to the draft's own schema.
func schemaOf(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs", workspaceSchema))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("banger.toml.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("banger.toml.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// verdicts are what banger and the schema say about a file.
func verdicts(t *testing.T, schema *jsonschema.Schema, text string) (ours, schemas error) {
	t.Helper()
	_, ours = project.Parse(project.Name, []byte(text))
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return ours, schema.Validate(value)
}

var tomlBlock = regexp.MustCompile("(?ms)^```toml\n(.*?)^```")

// examples are files that are right: those of the page, one for each key, and all guesses.
func examples(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("../../docs", workspaceKeys))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"nothing": "", "sizes": "memory = \"1.5 GiB\"\ndisk = \"20480m\"",
		"addresses": `ports = ["localhost:0:1", "[::ffff:127.0.0.1]:1:1/tcp", "10.0.0.1:65535:65535/udp"]`,
		"files":     "files = [{host = \"/a\", guest = \"~/a\", mode = \"777\", owner = \"0:0\"}]",
		"values":    "setup = \"a\"\ninit = \"/sbin/init\"\nimage = \"a@sha256:0\"\n[env]\nA = \"\"\nB = true\nC = -1\n[sync]\ninclude = []",
	}
	for _, m := range tomlBlock.FindAllStringSubmatch(string(page), -1) {
		all["the page: "+m[1]] = m[1]
	}
	if len(all) < 7 {
		t.Errorf("the page has too few examples")
	}
	for _, d := range project.Document() {
		text := d.Key + " = " + d.Example
		switch key, ofFiles := strings.CutPrefix(d.Key, "files."); {
		case ofFiles: // with those that each entry needs
			table := map[string]string{"host": `"~/a"`, "guest": `"/a"`}
			table[key] = d.Example
			text = "[[files]]\n"
			for key, value := range table {
				text += key + " = " + value + "\n"
			}
		case d.Key == "cache":
			text = "setup = \"make\"\n" + text
		}
		if d.Example != "" {
			all["the example of "+d.Key] = text
		}
	}
	guesses, err := filepath.Glob("../../internal/workspace/project/testdata/guess-*.toml")
	if err != nil || len(guesses) < 20 {
		t.Fatalf("%d guesses, %v", len(guesses), err)
	}
	for _, path := range guesses {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(data)
	}
	return all
}

// TestSchema: what banger takes, the schema takes, and what it says is wrong, banger refuses.
func TestSchema(t *testing.T) {
	schema := schemaOf(t)
	all := examples(t)
	for _, what := range slices.Sorted(maps.Keys(all)) {
		if ours, schemas := verdicts(t, schema, all[what]); ours != nil || schemas != nil {
			t.Errorf("%s: banger says %v, the schema %v", what, ours, schemas)
		}
	}
	entry := "[[files]]\nhost = \"~/a\"\nguest = \"/a\"\n"
	for _, text := range []string{
		"imgae = \"debian\"", "image = 1", "image = \"a b\"", "vcpus = 0", "vcpus = 129", "vcpus = \"2\"", "vcpus = 1.5",
		"memory = \"4\"", "memory = \"4GB\"", "disk = 4", "network = \"host\"", "init = \"runit\"", "tools = \"\"",
		"ports = \"80:80\"", "ports = [80]", "ports = [\"80\"]", "ports = [\"80:80/sctp\"]", "ports = [" + strings.Repeat("\"1:1\",", 101) + "]",
		"workdir = \"a\"", "user = \"a b\"", "shell = \"sh\"", "setup = 1", "setup = \"\"", "setup = [\" \"]", "setup = [[]]", "setup = [[1]]",
		"setup = \"a\"\ncache = [\"/a\"]", "host_env = [\"A=1\"]", "dotfiles = [\"/etc\"]", "dotfiles = \"~/a\"",
		"env = []", "[env]\nA = 1.5", "[env]\nA = []", "[env]\n\"A B\" = 1", "[sync]\nonly = []", "[sync]\ninclude = [\"!a\"]", "[sync]\ninclude = \"a\"",
		"[files]\nhost = \"~/a\"\nguest = \"/a\"", "[[files]]\nhost = \"~/a\"", "[[files]]\nguest = \"/a\"",
		entry + "mode = 600", entry + "mode = \"9\"", entry + "owner = \"\"", entry + "large = true", "files = [{host = \"a\", guest = \"/a\"}]",
	} {
		if ours, schemas := verdicts(t, schema, text); ours == nil || schemas == nil {
			t.Errorf("%q: banger says %v, the schema %v", text, ours, schemas)
		}
	}
}

// TestSchemaKnowsEachKey: with its description, which editors show.
func TestSchemaKnowsEachKey(t *testing.T) {
	type schema struct {
		Description string
		Properties  map[string]*schema
		Items       *schema
	}
	var top schema
	data, err := project.JSONSchema()
	if err != nil || json.Unmarshal(data, &top) != nil {
		t.Fatal(err)
	}
	for _, d := range project.Document() {
		at := &top
		for part := range strings.SplitSeq(d.Key, ".") {
			if at.Items != nil {
				at = at.Items
			}
			if at = at.Properties[part]; at == nil {
				break
			}
		}
		if at == nil || at.Description != d.Doc {
			t.Errorf("the schema does not describe %s", d.Key)
		}
	}
}
