package agent

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// utf8Locales are where a C library that has a UTF-8 locale without a language shows it:
// glibc by a directory (locale(7)), musl always.
var utf8Locales = []string{"/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8", "/lib/ld-musl-*.so.1"}

// language is what LANG says where neither image nor user say anything: without it what is
// not ASCII can be neither edited nor listed. Empty where the image has no such locale,
// of which perl and others would complain.
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

// terminal is the client's TERM, or where the guest knows no such terminal, as new ones
// bring their own description, the nearest one that it knows. A guest that describes none,
// as one with busybox alone, is told as it is.
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

// describes looks for a terminal below the first letter of its name, or the letter's
// number where file systems know no case.
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
