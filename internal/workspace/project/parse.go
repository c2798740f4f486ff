package project

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/config"
	"banger/internal/tomlline"

	"github.com/BurntSushi/toml"
)

// Parse reads the text of a banger.toml; file is its name for errors. The error, of kind
// api.KindInvalid, names every mistake with its line.
func Parse(file string, data []byte) (Config, error) {
	text := string(data)
	r := &reader{lines: tomlline.Of(text)}
	if line := r.lines.Deep(); line != 0 {
		return Config{}, api.Errorf(api.KindInvalid, "cannot use %s: line %d: it is nested too deeply", file, line)
	}
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			err = fmt.Errorf("line %d: %s", syntax.Position.Line, syntax.Message)
		}
		return Config{}, api.Errorf(api.KindInvalid, "cannot use %s: %w", file, err)
	}
	var c Config
	top := place{r: r}
	readTable(top, values, keys(), &c)
	c.check(top)
	if err := r.err(file); err != nil {
		return Config{}, err
	}
	return c, nil
}

// check refuses what is wrong with the keys together.
func (c Config) check(top place) {
	if len(c.Cache) > 0 && len(c.Setup) == 0 {
		top.in("cache").wrongf("it names files for the setup, and there is no setup")
	}
	for i, name := range c.HostEnv {
		if _, both := c.Env[name]; both {
			top.in("host_env").item(i).wrongf("%s is in env as well: remove one of the two", name)
		}
	}
}

// entry is a key of a table: how it is read, written, described and explained.
type entry[T any] struct {
	name, doc string
	example   string // a value, as in the file
	reaches   bool   // the host: it has to be confirmed
	schema    *Schema
	read      func(p place, v any, to *T)
	write     func(from T) string // the value as in the file; "": leave it out
	// block is write for what has lines of its own, such as a table.
	block func(from T) []string
}

// readTable reads a table of these keys.
func readTable[T any](p place, v any, entries []entry[T], to *T) {
	table, ok := v.(map[string]any)
	if !ok {
		p.wrongf("it is a table: use lines such as %s = %s", entries[0].name, entries[0].example)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		i := slices.IndexFunc(entries, func(e entry[T]) bool { return e.name == key })
		if i < 0 {
			p.in(key).unknown(key, names(entries))
			continue
		}
		entries[i].read(p.in(key), table[key], to)
	}
}

func names[T any](entries []entry[T]) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.name)
	}
	return all
}

// unknown records a key that a table does not have.
func (p place) unknown(key string, known []string) {
	outer := place{p.r, p.path[:len(p.path)-1]}
	m := mistake{line: p.r.lines.Line(p.path...), text: fmt.Sprintf("%.40q is not a valid key", key)}
	if in := outer.name(); in != "" {
		m.text += " of " + in
	}
	near := nearest(key, known)
	switch {
	case near != "":
		m.text += ": use " + near
	case len(outer.path) == 0 && slices.ContainsFunc(config.Document(), func(d config.Documented) bool { return d.Key == key }):
		m.text += ": it is a setting of the user, for config.toml"
	case len(outer.path) > 0 && slices.Contains(names(keys()), key):
		m.text += ": move it above the first table"
	default:
		m.hint = "use " + strings.Join(known, ", ")
	}
	p.r.mistakes = append(p.r.mistakes, m)
}

// deep reports whether a text is nested so deeply that package toml is not asked about it.
func deep(text string) bool { return tomlline.Of(text).Deep() != 0 }
