package process

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// utf8Locales are files that exist if the C library has a UTF-8 locale without a language: glibc
// has a directory (locale(7)), musl always has the locale.
var utf8Locales = []string{"/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8", "/lib/ld-musl-*.so.1"}

// language returns the default of LANG if neither image nor user set it: without it text that is
// not ASCII can be neither edited nor listed. It is empty if the image has no such locale, because
// perl and others would print warnings.
func language(root string) string {
	for _, pattern := range utf8Locales {
		if found, _ := filepath.Glob(filepath.Join(cmp.Or(root, "/"), pattern)); len(found) > 0 {
			return "C.UTF-8"
		}
	}
	return ""
}

// terminfo are the directories that describe terminals (terminfo(5)).
var terminfo = []string{"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"}

// terminal returns the client's TERM, or if the guest does not know that terminal, because new ones
// bring their own description, the most similar one that it knows. A guest that describes no
// terminal, such as one with only busybox, gets TERM unchanged.
func terminal(term, home string, env []string, root string) string {
	dirs := append([]string{lastValue(env, "TERMINFO"), filepath.Join(home, ".terminfo")}, terminfo...)
	dirs = append(dirs, strings.Split(lastValue(env, "TERMINFO_DIRS"), ":")...)
	instead := []string{"xterm-256color", "xterm", "vt100"}
	if strings.HasPrefix(term, "tmux") || strings.HasPrefix(term, "screen") {
		instead = append([]string{"screen-256color", "screen"}, instead...)
	}
	for _, name := range append([]string{term}, instead...) {
		for _, dir := range dirs {
			if dir != "" && describes(filepath.Join(cmp.Or(root, "/"), dir), name) {
				return name
			}
		}
	}
	return term
}

// describes looks for a terminal below the first letter of its name, or below the letter's number,
// which is used on file systems that ignore case.
func describes(dir, name string) bool {
	if name == "" || strings.ContainsRune(name, '/') {
		return false
	}
	const digits = "0123456789abcdef"
	for _, letter := range []string{name[:1], string([]byte{digits[name[0]>>4], digits[name[0]&15]})} {
		if info, err := os.Stat(filepath.Join(dir, letter, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}
