package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// imageNames is the table of short names of images in config.toml. Its entries are not
// settings: they have no variable, and users choose their names.
const imageNames = "image_names"

const imageNamesDoc = `short names for images: [image_names], then lines such as a = "b/c:1"`

// builtinNames are common names of images for which docker.io has no image, or no
// current one.
var builtinNames = map[string]string{
	"alma":       "docker.io/library/almalinux",
	"amazon":     "docker.io/library/amazonlinux",
	"arch":       "docker.io/library/archlinux",
	"gentoo":     "docker.io/gentoo/stage3",
	"kali":       "docker.io/kalilinux/kali-rolling",
	"opensuse":   "docker.io/opensuse/leap",
	"rocky":      "docker.io/rockylinux/rockylinux",
	"tumbleweed": "docker.io/opensuse/tumbleweed",
}

var (
	// No slash, no tag: a name with one is a reference already.
	shortNames = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*$`)
	// The grammar of the distribution specification; a registry has a dot or a port, or
	// is localhost, and may contain upper case, which a name may not.
	references = regexp.MustCompile(`^(([A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+|localhost|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/|[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]{1,5}/)?` +
		`[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*` +
		`(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
)

// isImageName reports whether a key of the file belongs to the table.
func isImageName(key toml.Key) bool { return key[0] == imageNames }

// setImageName stores an entry from values, the whole file, or checks that the table is
// one.
func (c *Config) setImageName(key toml.Key, values map[string]any) error {
	table, ok := values[imageNames].(map[string]any)
	if !ok {
		return fmt.Errorf("%s is a table: use [%s], then lines such as alma = \"docker.io/library/almalinux\"", imageNames, imageNames)
	}
	if len(key) == 1 {
		return nil
	}
	name := key[1]
	err := checkShortName(name)
	if err == nil {
		err = checkReference(table[name])
	}
	if err != nil {
		return fmt.Errorf("%s.%.80s: %w", imageNames, name, err)
	}
	c.ImageNames[name] = table[name].(string)
	c.origins[imageNames+"."+name] = fromFile
	return nil
}

func checkShortName(name string) error {
	// In TOML every line after the table's header belongs to the table.
	if slices.ContainsFunc(settings(), func(s setting) bool { return s.key == name }) {
		return fmt.Errorf("%s is a setting: move it above [%s]", name, imageNames)
	}
	if len(name) > 128 || !shortNames.MatchString(name) {
		return fmt.Errorf("%.80q is not a valid short name: use lower-case letters, digits and, between them, dots, dashes and underscores", name)
	}
	return nil
}

// checkReference refuses a text that is not valid as a reference.
func checkReference(value any) error {
	text, ok := value.(string)
	why := ""
	switch before, _, scheme := strings.Cut(text, "://"); {
	case !ok:
		return fmt.Errorf("use a reference of an image in quotes")
	case scheme:
		why = fmt.Sprintf("remove %q", before+"://")
	case strings.HasPrefix(text, "/") || strings.HasPrefix(text, "."):
		why = "it looks like a file"
	case len(text) > 255:
		why = "it is too long"
	case references.MatchString(text):
		return nil
	case references.MatchString(strings.ToLower(text)):
		why = "names of images must be in lower case"
	default:
		why = "use name, registry/name, name:tag or name@sha256:…"
	}
	return fmt.Errorf("%.200q is not a valid reference of an image: %s", text, why)
}

// sortedNames returns the short names in display order.
func (c Config) sortedNames() []string { return slices.Sorted(maps.Keys(c.ImageNames)) }
