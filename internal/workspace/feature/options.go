package feature

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// Options are what a file gives a feature: texts and booleans, by the names of the options.
type Options struct {
	values map[string]any
	// short is true for a text in place of an object: it is the option version.
	short bool
}

// Option is an option with its value.
type Option struct {
	Name  string
	Value any // a string or a bool; nil if it has no default

	enum []string // the only values; nil: any
}

// ParseOptions takes a decoded value of JSON (json.Decoder.UseNumber).
func ParseOptions(v any) (Options, error) {
	switch v := v.(type) {
	case string:
		return Options{map[string]any{"version": v}, true}, nil
	case map[string]any:
		o := Options{values: map[string]any{}}
		for name, value := range v {
			value, ok := simple(value)
			if !ok {
				return Options{}, fmt.Errorf("the option %.60q is neither a text nor true or false", name)
			}
			o.values[name] = value
		}
		return o, nil
	}
	return Options{}, errors.New("it is neither an object of options nor a version")
}

// simple reports whether a value is one that an option may have. Numbers are not of the
// specification, but are written, and are meant as texts.
func simple(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return v, !strings.ContainsRune(v, 0)
	case bool:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return nil, false
}

// Values returns the options that are given, by name.
func (o Options) Values() map[string]any { return maps.Clone(o.values) }

// Variables returns the variables of install.sh, as NAME=value: the feature's defaults, and what is
// given. The given values come last: two options may have the same variable.
func (f *Feature) Variables() []string {
	var all []string
	for _, o := range f.Defaults {
		if _, given := f.Options.values[o.Name]; !given && o.Value != nil {
			all = append(all, fmt.Sprintf("%s=%v", variable(o.Name), o.Value))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Options.values)) {
		if f.Options.short && !f.has("version") {
			continue // the feature has no option that a text could mean
		}
		all = append(all, fmt.Sprintf("%s=%v", variable(name), f.Options.values[name]))
	}
	return all
}

func (f *Feature) has(option string) bool {
	return slices.ContainsFunc(f.Defaults, func(o Option) bool { return o.Name == option })
}

// Unusual says which of the given values are none of those that the feature lists. They are passed
// on all the same, as by other programs.
func (f *Feature) Unusual() (all []string) {
	for _, o := range f.Defaults {
		value, given := f.Options.values[o.Name]
		if text := fmt.Sprint(value); given && o.enum != nil && !slices.Contains(o.enum, text) {
			all = append(all, fmt.Sprintf("%.60q is not one of the values of the option %.60q", text, o.Name))
		}
	}
	return all
}

// variable is the name of an option's variable, by the specification's rule: what is not an ASCII
// letter, digit or underscore becomes one, leading digits and underscores become one, and all is
// in upper case. Its rule is for units of UTF-16.
func variable(option string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(option)) {
		c := byte('_')
		if unit < 0x80 && (unit >= 'a' && unit <= 'z' || unit >= 'A' && unit <= 'Z' || unit >= '0' && unit <= '9') {
			c = byte(unit)
		}
		b.WriteByte(c)
	}
	name := b.String()
	if rest := strings.TrimLeft(name, "0123456789_"); rest != name {
		name = "_" + rest
	}
	return strings.ToUpper(name)
}

// compare orders options: an object before a text, few before many, then by names, then by values.
func (o Options) compare(other Options) int {
	if o.short != other.short {
		if o.short {
			return 1
		}
		return -1
	}
	if d := len(o.values) - len(other.values); d != 0 {
		return d
	}
	names, others := slices.Sorted(maps.Keys(o.values)), slices.Sorted(maps.Keys(other.values))
	for i, name := range names {
		if name != others[i] {
			return collate(name, others[i])
		}
		if d := compareValues(o.values[name], other.values[name]); d != 0 {
			return d
		}
	}
	return 0
}

// compareValues orders the values of an option: texts, and false before true.
func compareValues(a, b any) int {
	aText, aIsText := a.(string)
	bText, bIsText := b.(string)
	switch {
	case aIsText && bIsText:
		return collate(aText, bText)
	case a == b:
		return 0
	case !aIsText && !bIsText && a == false:
		return -1
	case !aIsText && !bIsText:
		return 1
	}
	return collate(fmt.Sprint(a), fmt.Sprint(b))
}
