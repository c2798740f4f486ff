package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// aliases are the additional names of modules.
type aliases struct {
	builtin []alias // of built-in modules
	loaded  []alias // of the modules of the tree
	known   bool    // whether loaded has been read
}

// alias is a pattern (modprobe.d(5)) and the module that it names.
type alias struct{ pattern, module string }

// matches reports whether an alias matches a name. Patterns are those of fnmatch(3).
func (a alias) matches(name string) bool {
	ok, err := path.Match(normalAlias(a.pattern), name)
	return ok && err == nil
}

// readBuiltin reads modules.builtin.modinfo, which exists since Linux 5.2:
// NUL-terminated strings such as "crc32c_generic.alias=crypto-crc32c" (kbuild.rst).
func (t *moduleTree) readBuiltinAliases() error {
	data, err := t.read(filepath.Join(t.dir, "modules.builtin.modinfo"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for entry := range strings.SplitSeq(string(data), "\x00") {
		key, pattern, _ := strings.Cut(entry, "=")
		if module, ok := strings.CutSuffix(key, ".alias"); ok {
			t.aliases.builtin = append(t.aliases.builtin, alias{pattern, moduleName(module)})
		}
	}
	return nil
}

// byAlias returns the modules of the tree that match an alias, sorted, and whether a
// built-in module matches it.
func (t *moduleTree) byAlias(name string) (modules []string, builtin bool, err error) {
	name = normalAlias(name)
	means := func(a alias) bool { return a.matches(name) }
	if slices.ContainsFunc(t.aliases.builtin, means) {
		return nil, true, nil
	}
	if !t.aliases.known {
		if t.aliases.loaded, err = t.readAliases(); err != nil {
			return nil, false, err
		}
		t.aliases.known = true
	}
	found := map[string]bool{}
	for _, a := range t.aliases.loaded {
		if means(a) && t.files[a.module] != "" {
			found[a.module] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), false, nil
}

// readAliases reads modules.alias, which depmod(8) creates when a kernel is installed;
// if there is none, it reads the modules themselves.
func (t *moduleTree) readAliases() ([]alias, error) {
	data, err := t.read(filepath.Join(t.dir, "modules.alias"))
	if errors.Is(err, os.ErrNotExist) {
		return t.askModules()
	}
	if err != nil {
		return nil, err
	}
	var all []alias
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if word := strings.Fields(lines.Text()); len(word) == 3 && word[0] == "alias" {
			all = append(all, alias{word[1], moduleName(word[2])})
		}
	}
	return all, lines.Err()
}

// askModules reads the aliases of all modules. A module that cannot be read has none:
// guests may not need it.
func (t *moduleTree) askModules() ([]alias, error) {
	var all []alias
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		_, info, err := t.readModule(t.files[name])
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("module %s: %w", t.files[name], err)
		}
		for _, pattern := range info.aliases {
			all = append(all, alias{pattern, name})
		}
	}
	return all, nil
}
