package project

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"banger/internal/config"
	"banger/internal/size"
)

// Limits of what a file says. They are far above what a repository needs, and keep its questions
// readable.
const (
	maxCommands  = 64
	maxCache     = 64
	maxHostEnv   = 64
	maxEnv       = 256
	maxEnvBytes  = int(32 * size.KiB) // of all names and values: they are sent with each command, beside the image's
	maxPatterns  = 256
	maxArguments = 256
)

// syncKeys are the keys of [sync].
func syncKeys() []entry[Sync] {
	patterns := func(name, doc, example string, reaches bool, field func(*Sync) *[]string) entry[Sync] {
		return entry[Sync]{
			name: name, doc: doc, example: example, reaches: reaches,
			schema: listSchema(maxPatterns, &Schema{Type: "string", Pattern: patternPattern}),
			read: func(p place, v any, to *Sync) {
				*field(to) = p.list(v, maxPatterns, "patterns", checked(checkPattern))
			},
			write: func(s Sync) string { return quoteList(*field(&s)) },
		}
	}
	return []entry[Sync]{
		patterns("include", "patterns as in `.gitignore`: of the files that git ignores, these are shipped too", `[".env.test"]`, true,
			func(s *Sync) *[]string { return &s.Include }),
	}
}

// fileKeys are the keys of [[files]].
func fileKeys() []entry[config.FileSync] {
	type file = config.FileSync
	text := func(name, doc, example string, schema *Schema, parse func(any) (string, error), field func(*file) *string) entry[file] {
		return entry[file]{
			name: name, doc: doc, example: quote(example), schema: schema,
			read:  func(p place, v any, to *file) { p.keep(parse(v))(field(to)) },
			write: func(f file) string { return quoteOr(*field(&f)) },
		}
	}
	path := &Schema{Type: "string", Pattern: copiedPattern}
	return []entry[file]{
		text("host", "a file or a directory: `~/…`, below your home directory, or an absolute path", "~/.npmrc", path, config.CopiedPath, func(f *file) *string { return &f.Host }),
		text("guest", "the path of the copy: absolute, or `~/…` for the home of the guest's user", "~/.npmrc", path, config.CopiedPath, func(f *file) *string { return &f.Guest }),
		{
			name: "mode", doc: "of the files, in octal digits. Without it: as on the host", example: `"0600"`,
			schema: &Schema{Type: "string", Pattern: modePattern},
			read: func(p place, v any, to *file) {
				mode, err := config.FileMode(v)
				if to.Mode = mode; err != nil {
					p.wrong(err)
				}
			},
			write: func(f file) string {
				if f.Mode == 0 {
					return ""
				}
				return quote(fmt.Sprintf("%04o", f.Mode))
			},
		},
		text("owner", "`USER` or `USER:GROUP` of the guest. Without it: root, or if `guest` is `~/…`, its user", "dev",
			&Schema{Type: "string", Pattern: ownerPattern}, config.GuestOwner, func(f *file) *string { return &f.Owner }),
	}
}

func readFiles(p place, v any, to *Config) {
	entries, ok := v.([]map[string]any)
	if list, inline := v.([]any); inline { // files = [{…}, {…}]
		ok = true
		for _, item := range list {
			table, isTable := item.(map[string]any)
			entries, ok = append(entries, table), ok && isTable
		}
	}
	switch {
	case !ok:
		p.wrongf("use [[files]] above each entry, then host and guest")
		return
	case len(entries) > config.MaxCopied:
		p.wrongf("%d entries: at most %d are possible", len(entries), config.MaxCopied)
		return
	}
	for i, table := range entries {
		var f config.FileSync
		at := p.item(i)
		readTable(at, table, fileKeys(), &f)
		for _, name := range []string{"host", "guest"} {
			if _, given := table[name]; !given {
				at.wrongf("%s is missing", name)
			}
		}
		if f.Guest != "" && slices.ContainsFunc(to.Files, func(other config.FileSync) bool { return other.Guest == f.Guest }) {
			at.in("guest").wrongf("two entries are copied to %s", shown(f.Guest))
		}
		to.Files = append(to.Files, f)
	}
}

func readEnv(p place, v any, to *Config) {
	table, ok := v.(map[string]any)
	if !ok {
		p.wrongf(`it is a table: use [env], then lines such as NAME = "value"`)
		return
	}
	if len(table) > maxEnv {
		p.wrongf("%d variables: at most %d are possible", len(table), maxEnv)
		return
	}
	bytes := 0
	for _, name := range slices.Sorted(maps.Keys(table)) {
		at := p.in(name)
		value, err := config.Scalar(table[name])
		switch {
		case CheckVariable(name) != nil:
			at.wrong(CheckVariable(name))
		case err != nil:
			at.wrong(err)
		case strings.ContainsRune(value, 0):
			at.wrongf("a variable cannot have a NUL character")
		}
		bytes += len(name) + len(value) + 2 // NAME=value, NUL
		if to.Env == nil {
			to.Env = map[string]string{}
		}
		to.Env[name] = value
	}
	if bytes > maxEnvBytes {
		p.wrongf("the variables take %s: at most %s are possible", size.Format(int64(bytes)), size.Format(int64(maxEnvBytes)))
	}
}

func writeEnv(c Config) []string {
	if len(c.Env) == 0 {
		return nil
	}
	lines := []string{"[env]"}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		lines = append(lines, name+" = "+quote(c.Env[name]))
	}
	return lines
}
