package project

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"banger/internal/config"
	"banger/internal/guest/forward"
)

var (
	variables = regexp.MustCompile(variablePattern)
	bareKey   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)
)

// text takes a value that is a text.
func (p place) text(v any) (string, bool) {
	text, ok := v.(string)
	if !ok {
		p.wrongf("use a text in quotes")
	}
	return text, ok
}

// keep returns a function that stores a value, or records what is wrong with it.
func (p place) keep(value string, err error) func(to *string) {
	return func(to *string) {
		if *to = value; err != nil {
			p.wrong(err)
		}
	}
}

// list takes a list of texts that parse checks, without those that are there twice.
func (p place) list(v any, most int, what string, parse func(string) (string, error)) []string {
	items, ok := v.([]any)
	if !ok {
		p.wrongf("use a list of texts in quotes, in brackets")
		return nil
	}
	if len(items) > most {
		p.wrongf("%d %s: at most %d are possible", len(items), what, most)
		return nil
	}
	var all []string
	for i, item := range items {
		text, ok := p.item(i).text(item)
		if !ok {
			continue
		}
		var value string
		p.item(i).keep(parse(text))(&value)
		if !slices.Contains(all, value) {
			all = append(all, value)
		}
	}
	return all
}

// checked is a parser of texts that only checks them.
func checked(check func(string) error) func(string) (string, error) {
	return func(text string) (string, error) { return text, check(text) }
}

func readPorts(p place, v any, to *Config) {
	p.list(v, config.MaxPublish, "ports", func(text string) (string, error) {
		port, err := forward.ParsePublished(text)
		if err == nil && !slices.Contains(to.Ports, port) {
			to.Ports = append(to.Ports, port)
		}
		return text, err
	})
}

func readSetup(p place, v any, to *Config) {
	items, ok := v.([]any)
	if text, single := v.(string); single {
		items, ok = []any{text}, true
	}
	switch {
	case !ok:
		p.wrongf("use a text in quotes, or a list of them")
	case len(items) > maxCommands:
		p.wrongf("%d commands: at most %d are possible", len(items), maxCommands)
	default:
		for i, item := range items {
			if c, err := ParseCommand(item); err != nil {
				p.item(i).wrong(err)
			} else {
				to.Setup = append(to.Setup, c)
			}
		}
	}
}

// ParseCommand takes a script, or a list: a program and its arguments.
func ParseCommand(v any) (Command, error) {
	if text, ok := v.(string); ok {
		return Script(text), checkScript(text)
	}
	items, ok := v.([]any)
	if !ok || len(items) == 0 || len(items) > maxArguments {
		return nil, fmt.Errorf("use a text in quotes, or a list of 1 to %d: a program and its arguments", maxArguments)
	}
	var c Command
	for _, item := range items {
		text, ok := item.(string)
		if !ok || strings.ContainsRune(text, 0) {
			return nil, errors.New("a program and its arguments are texts in quotes, without NUL characters")
		}
		c = append(c, text)
	}
	if c[0] == "" {
		return nil, errors.New("the name of the program is empty")
	}
	return c, nil
}

func checkScript(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("the command is empty")
	case strings.ContainsRune(text, 0):
		return errors.New("a command cannot have a NUL character")
	}
	return nil
}

func writeSetup(c Config) string {
	var items []string
	for _, command := range c.Setup {
		if text, ok := command.Script(); ok {
			items = append(items, quote(text))
		} else {
			items = append(items, quoteList(command))
		}
	}
	if len(items) < 2 {
		return bracketed(items, ", ", "")
	}
	return bracketed(items, ",\n  ", "\n  ") // a command a line
}

// CheckVariable refuses text that is not a valid name of a variable.
func CheckVariable(name string) error {
	if !variables.MatchString(name) {
		return fmt.Errorf("%.40q is not a valid name of a variable: use letters, digits and underscores", name)
	}
	return nil
}

// checkRelative refuses a name that is not one of a file below the workspace.
func checkRelative(name string) error {
	switch {
	case plain(name) != nil:
		return plain(name)
	case path.IsAbs(name) || path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../"):
		return fmt.Errorf("%.80q is not the name of a file below %s's directory, such as web/package-lock.json", name, Name)
	}
	return nil
}

// checkPattern refuses a pattern that could not select files of the workspace.
func checkPattern(pattern string) error {
	switch {
	case plain(pattern) != nil:
		return plain(pattern)
	case strings.HasPrefix(pattern, "!") || strings.HasPrefix(pattern, "#") || strings.HasSuffix(pattern, " "):
		return fmt.Errorf("%.80q begins with ! or #, or ends with a space, which mean something else in .gitignore", pattern)
	case strings.Trim(pattern, "/") == "" || slices.Contains(strings.Split(pattern, "/"), ".."):
		return fmt.Errorf("%.80q is not a pattern of files below %s's directory", pattern, Name)
	}
	return nil
}

// plain refuses text that is not a name of a file.
func plain(text string) error {
	if text == "" || len(text) > 4096 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%.80q is not a valid name", text)
	}
	return nil
}

// parseGuestPath takes an absolute path of the guest.
func parseGuestPath(text string) (string, error) {
	if err := plain(text); err != nil {
		return "", err
	}
	if !path.IsAbs(text) || path.Clean(text) == "/" || slices.Contains(strings.Split(text, "/"), "..") {
		return "", fmt.Errorf("%.80q is not the absolute path of something in the guest", text)
	}
	return path.Clean(text), nil
}

// kernelTrees are file systems of the guest's kernel, or gone after its next start.
var kernelTrees = []string{"/dev", "/proc", "/run", "/sys"}

// ParseWorkdir takes the directory of the workspace in the guest.
func ParseWorkdir(text string) (string, error) {
	dir, err := parseGuestPath(text)
	for _, tree := range kernelTrees {
		if err == nil && (dir == tree || strings.HasPrefix(dir, tree+"/")) {
			err = fmt.Errorf("%.80q is not on the guest's disk: use a directory such as /srv/app", text)
		}
	}
	return dir, err
}

func parseNetwork(text string) (string, error) {
	if text == "" {
		return "", errors.New(`"" is not one of nat, isolated and none`)
	}
	return config.ParseNetwork(text)
}

func parseOwner(text string) (string, error) { return config.GuestOwner(text) }
