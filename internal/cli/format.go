package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"banger/api"
)

// lineFormat prints a line for each VM, by a template over the fields of its JSON.
type lineFormat struct{ lines *template.Template }

// formatFuncs are what templates can call beside Go's own.
var formatFuncs = template.FuncMap{
	"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	},
	"join": func(list []any, separator string) string {
		var texts []string
		for _, v := range list {
			texts = append(texts, fmt.Sprint(v))
		}
		return strings.Join(texts, separator)
	},
}

// parseFormat reads a template, and refuses one that does not fit any VM. Text that shells do not
// interpret, \t and \n, has its usual meaning.
func parseFormat(text string) (*lineFormat, error) {
	if !strings.Contains(text, "{{") {
		return nil, api.Errorf(api.KindInvalid, "cannot use --format %.80q: it is the same for every VM", text).WithHint("%s", fieldHint())
	}
	t, err := template.New("format").Funcs(formatFuncs).Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text))
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot use --format: %s", templateError(err)).WithHint("%s", fieldHint())
	}
	trial, err := t.Clone()
	if err == nil {
		err = trial.Option("missingkey=error").Execute(io.Discard, example(reflect.TypeFor[api.VM]()))
	}
	if err != nil && !onlyOfSome(err) {
		return nil, api.Errorf(api.KindInvalid, "cannot use --format: %s", templateError(err)).WithHint("%s", fieldHint())
	}
	return &lineFormat{t.Option("missingkey=zero")}, nil
}

// onlyOfSome reports whether a template that fails with the example may be right for VMs: they have
// labels, and lists may have more than one element.
func onlyOfSome(err error) bool {
	text := err.Error()
	return strings.Contains(text, "at <.labels.") || strings.Contains(text, "at <$.labels.") || strings.Contains(text, "index out of range")
}

// noField matches the error of a field that does not exist, of which only the name helps.
var noField = regexp.MustCompile(`map has no entry for key (".*")$`)

// templateError returns an error of a template without what is the same in all.
func templateError(err error) string {
	if m := noField.FindStringSubmatch(err.Error()); m != nil {
		return "unknown field " + m[1]
	}
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "template: "), "format:")
}

func fieldHint() string {
	fields, _ := example(reflect.TypeFor[api.VM]()).(map[string]any)
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return "the fields are " + strings.Join(names, ", ") + ", as in --format '{{.name}} {{.state}}'"
}

// write prints a line for each VM.
func (f *lineFormat) write(w io.Writer, vms []api.VM) error {
	for _, vm := range vms {
		fields, err := fieldsOf(vm)
		if err != nil {
			return err
		}
		var line bytes.Buffer
		if err := f.lines.Execute(&line, fields); err != nil {
			return api.Errorf(api.KindInvalid, "cannot use --format for VM %s: %s", vm.Name, templateError(err)).WithHint("%s", fieldHint())
		}
		// Go prints this for what an object that a VM lacks would have.
		text := strings.ReplaceAll(line.String(), "<no value>", "")
		if _, err := fmt.Fprintln(w, printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf returns the fields of a VM's JSON. Those that it omits are empty.
func fieldsOf(vm api.VM) (map[string]any, error) {
	text, err := json.Marshal(vm)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	t := reflect.TypeFor[api.VM]()
	for i := range t.NumField() {
		name := jsonName(t.Field(i))
		if v, ok := fields[name]; ok {
			fields[name] = plain(v)
		} else {
			fields[name] = emptied(example(t.Field(i).Type))
		}
	}
	labels := map[string]string{} // a label that a VM lacks is an empty text
	for k, v := range vm.Labels {
		labels[k] = v
	}
	fields["labels"] = labels
	return fields, nil
}

// plain replaces numbers of JSON by those that templates compare, and print as they are.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

// emptied returns an example of a field as it is when it is omitted.
func emptied(v any) any {
	switch v.(type) {
	case []any:
		return []any{}
	case map[string]any:
		return map[string]any{}
	}
	return v
}

// example returns the JSON of a type, with every field, one element in each list, and zero values.
func example(t reflect.Type) any {
	switch t.Kind() {
	case reflect.Pointer:
		return example(t.Elem())
	case reflect.Slice:
		return []any{example(t.Elem())}
	case reflect.Map:
		return map[string]string{}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return ""
		}
		fields := map[string]any{}
		for i := range t.NumField() {
			fields[jsonName(t.Field(i))] = example(t.Field(i).Type)
		}
		return fields
	case reflect.String:
		return ""
	case reflect.Bool:
		return false
	case reflect.Float64:
		return 0.0
	default:
		return int64(0)
	}
}

// jsonName returns the name of a field in JSON.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
