package devcontainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"banger/internal/workspace/feature"
	"banger/internal/workspace/jsonc"
	"banger/internal/workspace/project"
)

// features takes the features. One that cannot be installed is not applied; the others are.
func (r *reader) features(value json.RawMessage) error {
	all, err := jsonc.Members(value)
	if err != nil {
		return wrongType("an object")
	}
	var problems []error
	for _, m := range all {
		request, err := feature.ParseRequest(m, r.from)
		if err != nil {
			problems = append(problems, fmt.Errorf("%.200q: %w", m.Key, err))
			continue
		}
		r.result.Features = append(r.result.Features, request)
	}
	return errors.Join(problems...)
}

func (r *reader) override(v any) error {
	items, ok := v.([]any)
	if !ok {
		return wrongType("a list")
	}
	var problems []error
	for _, item := range items {
		text, _ := item.(string)
		id, err := feature.ParseID(text, r.from)
		if err != nil {
			problems = append(problems, fmt.Errorf("%.200q: %w", fmt.Sprint(item), err))
			continue
		}
		r.result.Override = append(r.result.Override, id)
	}
	return errors.Join(problems...)
}

// Wanted is what the file asks for of features. top is the workspace.
func (r Result) Wanted(top string) feature.Wanted {
	return feature.Wanted{Top: top, From: path.Dir(r.File), Features: r.Features, Override: r.Override}
}

// Installed is what features that are installed in a VM ask for, as long as the VM exists.
type Installed struct {
	Key      string // of what was wanted (feature.Key)
	Features []string
	Env      map[string]string `json:",omitempty"`
	Hooks    Hooks
}

// Add adds what a feature asks for, and returns what of it is not applied. top is the workspace;
// base finds variables of the image, which the feature's variables may be made of.
func (i *Installed) Add(c Result, top string, f *feature.Feature, base func(name string) string) []Skipped {
	r := &reader{top: top, result: Result{Config: project.Config{User: c.Config.User, Workdir: c.Config.Workdir}}}
	var skipped []Skipped
	for at, m := range f.Members {
		if slices.ContainsFunc(f.Members[at+1:], func(later jsonc.Member) bool { return later.Key == m.Key }) {
			continue // the last one counts
		}
		for _, err := range flat(i.add(r, m, base)) {
			skipped = append(skipped, Skipped{Key: m.Key, Line: m.Line, Why: err.Error()})
		}
	}
	for _, why := range f.Unusual() {
		skipped = append(skipped, Skipped{Key: "options", Why: why})
	}
	i.Hooks = i.Hooks.Then(r.result.Hooks)
	i.Features = append(i.Features, strings.TrimSuffix(f.ID.String()+"@"+f.Digest, "@"))
	return skipped
}

// featureKeys are keys of a feature's description that ask for nothing, or are applied elsewhere.
var featureKeys = []string{
	"id", "version", "name", "description", "documentationURL", "licenseURL", "keywords", "options", "dependsOn", "installsAfter",
	"legacyIds", "currentId", "$schema",
}

// add applies a key of a feature's description, or says why not.
func (i *Installed) add(r *reader, m jsonc.Member, base func(string) string) error {
	var v any
	if err := json.Unmarshal(m.Value, &v); err != nil {
		return err
	}
	switch m.Key {
	case "containerEnv":
		return i.env(m.Value, base)
	case "onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand":
		return applied()[m.Key].apply(r, v)
	case "deprecated":
		if v == true {
			return errors.New("its author does not maintain it any more")
		}
		return nil
	case "entrypoint":
		return errors.New("nothing of it runs when the VM starts: postStartCommand can start it")
	}
	for _, key := range featureKeys {
		if m.Key == key {
			return nil
		}
	}
	if why, known := reasons[m.Key]; known && !empty(v) {
		return errors.New(why)
	} else if known {
		return nil
	}
	return errors.New("banger does not know it")
}

// empty reports whether a value asks for nothing.
func empty(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return v == nil
}

// env takes the variables of a feature. They are instructions of a Dockerfile to the specification,
// which may use the variables before them.
func (i *Installed) env(value json.RawMessage, base func(string) string) error {
	all, err := jsonc.Members(value)
	if err != nil {
		return wrongType("an object")
	}
	var problems []error
	for _, m := range all {
		var text string
		err := json.Unmarshal(m.Value, &text)
		switch {
		case err != nil:
			err = wrongType("a text")
		case project.CheckVariable(m.Key) != nil:
			err = project.CheckVariable(m.Key)
		default:
			text, err = expand(text, func(name string) string {
				if value, set := i.Env[name]; set {
					return value
				}
				return base(name)
			})
		}
		if err == nil && strings.ContainsRune(text, 0) {
			err = errors.New("a variable cannot have a NUL character")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%.40q: %w", m.Key, err))
			continue
		}
		if i.Env == nil {
			i.Env = map[string]string{}
		}
		i.Env[m.Key] = text
	}
	return errors.Join(problems...)
}

// used matches variables as a Dockerfile's ENV has them (docs.docker.com/reference/dockerfile,
// "Environment replacement").
var used = regexp.MustCompile(`\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:[-+])([^}]*))?\}|\{)`)

// maxValue bounds the value of a variable in bytes: one that is made of itself doubles each time.
const maxValue = 64 << 10

// expand replaces $NAME, ${NAME}, ${NAME:-word} and ${NAME:+word}.
func expand(text string, lookup func(name string) string) (string, error) {
	var b strings.Builder
	at := 0
	for _, m := range used.FindAllStringSubmatchIndex(text, -1) {
		part := func(n int) string {
			if m[2*n] < 0 {
				return ""
			}
			return text[m[2*n]:m[2*n+1]]
		}
		name := part(1) + part(2)
		if name == "" {
			return "", fmt.Errorf("%.60q is not replaced", text[m[0]:])
		}
		value := lookup(name)
		switch {
		case part(3) == ":-" && value == "", part(3) == ":+" && value != "":
			value = part(4)
		}
		b.WriteString(text[at:m[0]])
		b.WriteString(value)
		if at = m[1]; b.Len() > maxValue {
			break
		}
	}
	b.WriteString(text[at:])
	if b.Len() > maxValue {
		return "", fmt.Errorf("its value has more than %d bytes", maxValue)
	}
	return b.String(), nil
}
