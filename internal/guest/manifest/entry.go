// Package manifest lists what is in a directory of a guest, fetches the contents of named files in
// it, and changes them. The agent's half, List, Serve and Place, follows no symbolic link below the
// directory. The host's half, Read, Receive and Changes, trusts nothing that it reads.
package manifest

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/filecopy"
)

// The types of entries.
const (
	File  = "file"
	Dir   = "dir"
	Link  = "link" // a symbolic link
	Other = "other"
)

// Entry describes a file, a directory or a link, without its content.
type Entry struct {
	Path  string // relative to the directory, with slashes; of any bytes but 0
	Type  string // File, Dir, Link or Other
	Mode  uint32 // the lower 12 bits of stat(2)'s st_mode
	Size  int64  // in bytes, as stat(2) has it
	MTime int64  // of the last change of the content: nanoseconds since 1970
	CTime int64  // of the last change of content or attributes: nanoseconds since 1970
	Inode uint64
	Link  string // a link's target
	// Skipped means that what is in the directory is not listed, as requested.
	Skipped bool
	// Unread is why it is not known what is in a directory, or what else the path is: it may
	// have any content. It is empty if that is known.
	Unread string
}

// Options say what is listed. The zero value lists everything, up to the default limits.
type Options struct {
	// Skip are directories whose content is left out: names such as node_modules, wherever they
	// are, and paths, which have a slash, such as /build or web/dist.
	Skip []string
	// Only, unless it is empty, are the directories whose entries are listed: relative, clean, "." is
	// the top. Of what is above one, the list has the directories that lead there; what is below one
	// is listed if it is in Only itself.
	Only []string
	// Entries and Bytes limit the list: how many entries it has, and how many bytes it takes
	// in transfer. 0 means DefaultEntries and DefaultBytes.
	Entries int64
	Bytes   int64
}

// Check refuses directories in Only that are not relative and clean: one with .. leads elsewhere.
func (o Options) Check() error {
	for _, dir := range o.Only {
		if dir == "." {
			continue
		}
		if err := CheckPath(dir); err != nil {
			return fmt.Errorf("%s: %w", quote(dir), err)
		}
	}
	return nil
}

// The default limits of a list. An entry takes 10 to 30 bytes in transfer, and its name.
const (
	DefaultEntries = 1_000_000
	DefaultBytes   = 128 << 20
)

// WithDefaults returns o with the default limits in the place of zeros.
func (o Options) WithDefaults() Options {
	if o.Entries <= 0 {
		o.Entries = DefaultEntries
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	return o
}

func (o Options) tooMany() error {
	return api.Errorf(api.KindInvalid, "it has more than %d files and directories", o.Entries)
}

func (o Options) tooLong() error {
	return api.Errorf(api.KindInvalid, "the list of what is in it takes more than %d bytes", o.Bytes)
}

// maxPath is the length of the longest path in bytes that Linux opens (PATH_MAX without its NUL).
const maxPath = unix.PathMax - 1

// checkName refuses what is not the name of one entry of a directory.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s is not the name of a file", quote(name))
	}
	return nil
}

// CheckPath refuses a path that cannot be one of an Entry.
func CheckPath(name string) error {
	switch {
	case name == "" || name == ".":
		return errors.New("it is empty")
	case strings.ContainsRune(name, 0):
		return errors.New("it contains a NUL byte")
	case path.IsAbs(name), !filepath.IsLocal(name):
		return errors.New("it leads outside the directory")
	case path.Clean(name) != name:
		return errors.New("it is not in its shortest form")
	case len(name) > maxPath:
		return fmt.Errorf("it has more than %d bytes", maxPath)
	}
	return nil
}

// quote makes a name safe to print.
func quote(name string) string {
	const most = 200
	if len(name) > most {
		return strconv.Quote(name[:most]) + "…"
	}
	return filecopy.Quote(name)
}
