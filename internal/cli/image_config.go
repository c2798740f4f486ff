package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"banger/api"
)

// configFields returns an image's configuration as fields for `show`.
func configFields(c *api.ImageConfig) []string {
	if c == nil {
		return nil
	}
	list := []string{
		"entrypoint", words(c.Entrypoint), "cmd", words(c.Cmd), "user", c.User, "workdir", c.WorkingDir,
		"stop signal", c.StopSignal, "exposes", strings.Join(c.ExposedPorts, ", "),
	}
	for _, v := range c.Env {
		list = append(list, "env", v)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		list = append(list, "label", name+"="+c.Labels[name])
	}
	return list
}

// words formats a command so that its words can be told apart.
func words(argv []string) string {
	var quoted []string
	for _, w := range argv {
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\$`") {
			w = strconv.Quote(w)
		}
		quoted = append(quoted, w)
	}
	return strings.Join(quoted, " ")
}
