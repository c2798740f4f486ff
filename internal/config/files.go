package config

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// MaxCopied is how many entries file_sync may have, and dotfiles: each costs a start some round
// trips to the guest.
const MaxCopied = 64

// FileSync is an entry of file_sync: a file or directory that is copied into guests.
type FileSync struct {
	Host, Guest string // absolute, or ~/… for the home directory of the owner or the guest's user
	Mode        uint32 // of files; 0: as on the host
	Owner       string // user or user:group of the guest; empty: the default
	Large       bool   // without limits of size
}

// String describes the entry for `config show`.
func (f FileSync) String() string {
	text := f.Host + " to " + f.Guest
	if f.Mode != 0 {
		text += fmt.Sprintf(", mode %04o", f.Mode)
	}
	if f.Owner != "" {
		text += ", owner " + f.Owner
	}
	if f.Large {
		text += ", large"
	}
	return text
}

func (c *Config) readFileSync(at place, value any) error {
	entries, ok := value.([]map[string]any)
	if list, inline := value.([]any); inline { // file_sync = [{…}, {…}]
		ok = true
		for _, item := range list {
			entry, table := item.(map[string]any)
			entries, ok = append(entries, entry), ok && table
		}
	}
	if !ok {
		return at.errorf("", "use [[%s]] above each entry, then host and guest", fileSync)
	}
	if len(entries) > MaxCopied {
		return at.errorf("", "%d entries of %s: at most %d are possible", len(entries), fileSync, MaxCopied)
	}
	for i, entry := range entries {
		at.nth = i
		f, err := readFileEntry(at, entry)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(c.Files, func(other FileSync) bool { return other.Guest == f.Guest }) {
			return at.errorf("guest", "guest: two entries are copied to %s", f.Guest)
		}
		c.Files = append(c.Files, f)
	}
	return nil
}

// fileKeys are the keys of an entry.
var fileKeys = map[string]func(f *FileSync, v any) error{
	"host":  func(f *FileSync, v any) (err error) { f.Host, err = CopiedPath(v); return },
	"guest": func(f *FileSync, v any) (err error) { f.Guest, err = CopiedPath(v); return },
	"mode":  func(f *FileSync, v any) (err error) { f.Mode, err = FileMode(v); return },
	"owner": func(f *FileSync, v any) (err error) { f.Owner, err = GuestOwner(v); return },
	"large": func(f *FileSync, v any) error {
		large, ok := v.(bool)
		if f.Large = large; !ok {
			return errors.New("use true or false")
		}
		return nil
	},
}

func readFileEntry(at place, entry map[string]any) (FileSync, error) {
	var f FileSync
	for _, key := range slices.Sorted(maps.Keys(entry)) {
		set, ok := fileKeys[key]
		if !ok {
			if slices.ContainsFunc(settings(), func(s setting) bool { return s.key == key }) {
				return f, at.errorf(key, "%s is a setting: move it above the first table", key)
			}
			return f, at.errorf(key, "%.80q is not valid in [[%s]]: use host, guest, mode, owner and large", key, fileSync)
		}
		if err := set(&f, entry[key]); err != nil {
			return f, at.errorf(key, "%s: %w", key, err)
		}
	}
	switch {
	case f.Host == "":
		return f, at.errorf("", "host is missing: the file or directory to copy")
	case f.Guest == "":
		return f, at.errorf("", "guest is missing: the path of the copy in the guest")
	}
	return f, nil
}

// CopiedPath checks the path of a file or directory on either side of a copy, which is a text of the
// file: absolute, or ~/… for a home directory.
func CopiedPath(v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", errors.New("use a path in quotes")
	}
	rel, home := strings.CutPrefix(text, "~/")
	switch {
	case strings.IndexFunc(text, unicode.IsControl) >= 0 || len(text) > 4096:
		return "", fmt.Errorf("%.80q is not a valid path", text)
	case !home && !path.IsAbs(text):
		return "", fmt.Errorf("%.80q is neither an absolute path nor below ~/", text)
	}
	clean := path.Clean("/" + rel)
	if clean == "/" || slices.Contains(strings.Split(text, "/"), "..") {
		return "", fmt.Errorf("%.80q is not the path of one file or directory", text)
	}
	if home {
		return "~" + clean, nil
	}
	return clean, nil
}

// FileMode reads the mode of copied files, which is a text of the file: octal digits.
func FileMode(v any) (uint32, error) {
	text, _ := v.(string)
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode < 1 || mode > 0o777 {
		return 0, fmt.Errorf("%.40q is not a valid mode: use octal digits in quotes, such as \"0600\"", fmt.Sprint(v))
	}
	return uint32(mode), nil
}

var owners = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,63})?$`)

// GuestOwner reads USER or USER:GROUP of a guest, which is a text of the file.
func GuestOwner(v any) (string, error) {
	text, _ := v.(string)
	if !owners.MatchString(text) {
		return "", fmt.Errorf("%.40q is not a valid owner: use USER or USER:GROUP of the guest", fmt.Sprint(v))
	}
	return text, nil
}

// ParseDotfiles checks paths below the home directory, and leaves out those that are there twice.
func ParseDotfiles(items []string) ([]string, error) {
	var all []string
	for _, item := range items {
		file, err := CopiedPath(item)
		if err == nil && !strings.HasPrefix(file, "~/") {
			err = fmt.Errorf("%.80q is not below ~/: use [[%s]] for it", item, fileSync)
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, file) {
			all = append(all, file)
		}
	}
	if len(all) > MaxCopied {
		return nil, fmt.Errorf("%d files: at most %d are possible", len(all), MaxCopied)
	}
	return all, nil
}

func fileSettings() []setting {
	return []setting{
		{
			key: "dotfiles", doc: `copied to the same place in the guest at each start: ["~/.vimrc"]`, list: true,
			fallback: constant(""),
			set:      func(c *Config, v string) (err error) { c.Dotfiles, err = ParseDotfiles(list(v)); return },
			get:      func(c Config) string { return strings.Join(c.Dotfiles, listSeparator) },
		},
		{
			key: "git_identity", doc: "true: copy git's user.name and user.email into guests that have none",
			fallback: constant("false"),
			set:      func(c *Config, v string) (err error) { c.GitIdentity, err = yesNo(v); return },
			get:      func(c Config) string { return strconv.FormatBool(c.GitIdentity) },
		},
	}
}

func yesNo(text string) (bool, error) {
	switch text {
	case "true", "false":
		return text == "true", nil
	}
	return false, fmt.Errorf("%.40q is not true or false", text)
}
