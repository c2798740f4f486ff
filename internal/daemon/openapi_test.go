package daemon

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"banger/api"
)

// document is the part of api/openapi.yaml that the program can be held to.
type document struct {
	OpenAPI string                          `yaml:"openapi"`
	Paths   map[string]map[string]yaml.Node `yaml:"paths"`
	Parts   struct {
		Parameters map[string]parameter `yaml:"parameters"`
		Responses  map[string]yaml.Node `yaml:"responses"`
		Schemas    map[string]schema    `yaml:"schemas"`
	} `yaml:"components"`
}

type parameter struct {
	Ref      string `yaml:"$ref"`
	Name     string `yaml:"name"`
	In       string `yaml:"in"`
	Required bool   `yaml:"required"`
}

type operation struct {
	OperationID string               `yaml:"operationId"`
	Summary     string               `yaml:"summary"`
	Responses   map[string]yaml.Node `yaml:"responses"`
}

type schema struct {
	Ref        string            `yaml:"$ref"`
	Type       string            `yaml:"type"`
	Format     string            `yaml:"format"`
	Enum       []string          `yaml:"enum"`
	Items      *schema           `yaml:"items"`
	Required   []string          `yaml:"required"`
	Properties map[string]schema `yaml:"properties"`
}

func readDocument(t *testing.T) (document, string) {
	t.Helper()
	data, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, string(data)
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	doc, _ := readDocument(t)
	var routes, described []string
	for _, r := range Routes() {
		routes = append(routes, r.Method+" "+r.Pattern)
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths {
		for method, node := range item {
			if method == "parameters" {
				continue
			}
			described = append(described, strings.ToUpper(method)+" "+path)
			var o operation
			if err := node.Decode(&o); err != nil {
				t.Fatal(path, err)
			}
			if _, ok := o.Responses["default"]; !ok || o.Summary == "" || o.OperationID == "" || ids[o.OperationID] {
				t.Errorf("%s %s lacks a summary, an id of its own or the error response", method, path)
			}
			ids[o.OperationID] = true
		}
		checkPathParameters(t, doc, path, item)
	}
	slices.Sort(routes)
	slices.Sort(described)
	if !slices.Equal(routes, described) {
		t.Errorf("routes %q\nare described as %q", routes, described)
	}
}

func checkPathParameters(t *testing.T, doc document, path string, item map[string]yaml.Node) {
	t.Helper()
	var names []string
	if node, ok := item["parameters"]; ok {
		var refs []parameter
		if err := node.Decode(&refs); err != nil {
			t.Fatal(path, err)
		}
		for _, p := range refs {
			name := strings.TrimPrefix(p.Ref, "#/components/parameters/")
			p = doc.Parts.Parameters[name]
			if p.In != "path" || !p.Required || p.Name != name {
				t.Errorf("%s: bad parameter %q", path, name)
			}
			names = append(names, name)
		}
	}
	var want []string
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		want = append(want, m[1])
	}
	if !slices.Equal(names, want) {
		t.Errorf("%s has the parameters %q", path, names)
	}
}

// wire is every type that crosses the socket.
func wire() []any {
	return []any{
		api.Error{}, api.DaemonStatus{}, api.Check{}, api.Doctor{}, api.Leak{}, api.Leaks{}, api.ConfigValue{}, api.Config{},
		api.VM{}, api.NextStart{}, api.DiskUsage{}, api.StepTiming{}, api.VMList{}, api.CreateVM{}, api.CommitVM{}, api.Background{}, api.StartVM{}, api.StopVM{}, api.SignalVM{}, api.RenameVM{}, api.SetVM{}, api.Hold{}, api.HoldVM{}, api.Idle{}, api.Origin{}, api.OriginStep{}, api.Snapshot{}, api.SnapshotVM{}, api.SnapshotList{}, api.PublishVM{}, api.PublishedPort{}, api.SSHAccess{}, api.Session{}, api.SessionList{}, api.Pruned{}, api.SyncedFiles{}, api.SyncedFile{},
		api.VMStats{}, api.HostStats{}, api.HostMemory{}, api.DiskBase{}, api.GuestStats{}, api.GuestNetwork{}, api.GuestDisk{}, api.StatsList{}, api.VMHealth{}, api.VMPart{},
		api.Image{}, api.ImageConfig{}, api.ImageLayer{}, api.ImageHistory{}, api.ImageHistoryList{}, api.TagImage{}, api.ImageList{}, api.PullImage{}, api.ImportImage{},
		api.RegisterImage{}, api.RegisteredFiles{}, api.AvailableKernels{}, api.AvailableKernel{}, api.PrunedItem{}, api.PromoteImage{},
		api.Kernel{}, api.KernelList{}, api.PullKernel{}, api.ImportKernel{},
		api.Operation{}, api.OperationList{}, api.Progress{}, api.Event{}, api.Result{},
	}
}

func TestOpenAPISchemasAreTheStructs(t *testing.T) {
	doc, text := readDocument(t)
	want := []string{"Kind", "OpStatus", "SessionState", "State"}
	for _, v := range wire() {
		typ := reflect.TypeOf(v)
		want = append(want, typ.Name())
		s := doc.Parts.Schemas[typ.Name()]
		properties, required := fieldsOf(typ)
		for name, field := range properties {
			if got, want := describe(s.Properties[name]), describeType(field); got != want {
				t.Errorf("%s.%s is %s, described as %s", typ.Name(), name, want, got)
			}
		}
		for name := range s.Properties {
			if _, ok := properties[name]; !ok {
				t.Errorf("%s has no %s", typ.Name(), name)
			}
		}
		slices.Sort(s.Required)
		if !slices.Equal(required, s.Required) {
			t.Errorf("%s requires %q, described as %q", typ.Name(), required, s.Required)
		}
	}
	var have []string
	for name := range doc.Parts.Schemas {
		have = append(have, name)
		if !strings.Contains(text, `"#/components/schemas/`+name+`"`) {
			t.Errorf("nothing refers to the schema %s", name)
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("schemas %q, types %q", have, want)
	}
	for _, m := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(text, -1) {
		_, s := doc.Parts.Schemas[m[2]]
		_, p := doc.Parts.Parameters[m[2]]
		_, r := doc.Parts.Responses[m[2]]
		if !s && !p && !r {
			t.Errorf("%s leads nowhere", m[0])
		}
	}
}

// fieldsOf returns a struct's JSON fields, and those that are always there.
func fieldsOf(t reflect.Type) (map[string]reflect.Type, []string) {
	fields, required := map[string]reflect.Type{}, []string(nil)
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" {
			continue
		}
		fields[name] = f.Type
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return fields, required
}

func describe(s schema) string {
	if s.Ref != "" {
		return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
	}
	if s.Items != nil {
		return "array of " + describe(*s.Items)
	}
	return strings.TrimSpace(s.Type + " " + s.Format)
}

func describeType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "string date-time"
	case t.Kind() == reflect.Pointer:
		return describeType(t.Elem())
	case t.Kind() == reflect.Map:
		return "object"
	case t == reflect.TypeFor[[]byte](): // as encoding/json has it
		return "string byte"
	case t.Kind() == reflect.Slice:
		return "array of " + describeType(t.Elem())
	case t.Kind() == reflect.Struct, t.Kind() == reflect.String && t.Name() != "string":
		return t.Name()
	}
	plain := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer",
		reflect.Int64: "integer int64", reflect.Uint64: "integer int64", reflect.Float64: "number",
	}
	if name, ok := plain[t.Kind()]; ok {
		return name
	}
	return fmt.Sprintf("a type this test does not know: %s", t)
}

func TestOpenAPIKnowsEveryKind(t *testing.T) {
	doc, _ := readDocument(t)
	kinds := []api.Kind{
		api.KindInvalid, api.KindNotFound, api.KindExists, api.KindConflict, api.KindNoSpace,
		api.KindUnsupported, api.KindTimeout, api.KindCanceled, api.KindDenied, api.KindSuspended, api.KindFrozen, api.KindInternal,
	}
	if got := fmt.Sprint(doc.Parts.Schemas["Kind"].Enum); got != fmt.Sprint(kinds) {
		t.Errorf("kinds %s", got)
	}
	var node = doc.Parts.Responses["Error"]
	var response struct{ Description string }
	if err := node.Decode(&response); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if !strings.Contains(response.Description, string(k)) || !strings.Contains(response.Description, fmt.Sprint(k.HTTPStatus())) {
			t.Errorf("the status of %s, %d, is not described", k, k.HTTPStatus())
		}
	}
}
