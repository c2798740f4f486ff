// Package filecopy moves files and directories between this host and a guest.
// Both sides of `banger vm cp` use it: a source is walked, what it has travels as
// a conversation of two ends (Send and Receive) or as a tar stream (PackTar and
// UnpackTar), and is made anew beneath a directory that nothing which is received
// can leave.
package filecopy

import (
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"banger/api"
)

// Type is what an entry is.
type Type string

// The types of entries. Everything else, such as a device, is not copied.
const (
	File    Type = "file"
	Dir     Type = "dir"
	Symlink Type = "symlink"
	Link    Type = "link" // a further name of a file that came before
)

// Entry is a file, directory or link, without its content.
type Entry struct {
	Type   Type
	Name   string // relative, with slashes; "." is the target directory itself
	Mode   uint32 // the lower 12 bits of stat(2)'s st_mode
	UID    int
	GID    int
	MTime  time.Time
	Size   int64
	Stored int64  // how much of Size is no hole, roughly
	Target string // of a symbolic link, or the first name of a file
	Linked bool   // further names follow
	Xattrs map[string]string
}

// size is roughly what the texts of an entry take, in memory and on the wire. A short
// attribute costs some hundred bytes more than it has.
func (e Entry) size() int {
	return len(e.Name) + len(e.Target) + xattrBytes(e.Xattrs) + 100*len(e.Xattrs)
}

// special are the bits of a mode that give a program its owner's rights.
const special = 0o6000

// checkName refuses what is no plain relative name.
func checkName(name string) error {
	switch {
	case name == ".":
		return nil
	case strings.ContainsRune(name, 0):
		return refuse(name, "its name has a zero byte")
	case path.IsAbs(name), !filepath.IsLocal(name):
		return refuse(name, "its name leads out of the directory")
	case path.Clean(name) != name:
		return refuse(name, "its name is not in its shortest form")
	}
	return nil
}

// refuse is the error for an entry that no honest source sends.
func refuse(name, format string, args ...any) error {
	return api.Errorf(api.KindInvalid, "refused the entry %s: %w", Quote(name), fmt.Errorf(format, args...))
}

// Quote makes a name safe to print: one with control characters is written as a
// Go string.
func Quote(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` || name == "" {
		return quoted
	}
	return name
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", Quote(name), err)
}
