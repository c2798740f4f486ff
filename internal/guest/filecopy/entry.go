// Package filecopy copies files and directories between this host and a guest. Both
// sides of `banger vm cp` use it: it walks a source, transfers it in a dialogue of two
// ends (Send and Receive) or as a tar stream (PackTar and UnpackTar), and creates the
// files below a directory that the received data cannot leave.
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

// Type is the type of an entry.
type Type string

// The types of entries. Everything else, such as a device, is not copied.
const (
	File    Type = "file"
	Dir     Type = "dir"
	Symlink Type = "symlink"
	Link    Type = "link" // another name of an earlier file
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
	Stored int64  // approximate number of bytes of Size that are not holes
	Target string // the target of a symbolic link, or the first name of a file
	Linked bool   // other names of the file follow
	Xattrs map[string]string
}

// size is the approximate size in bytes of an entry's texts, in memory and in transfer.
// A short attribute needs some hundred bytes more.
func (e Entry) size() int {
	return len(e.Name) + len(e.Target) + xattrBytes(e.Xattrs) + 100*len(e.Xattrs)
}

// special are the bits of a mode that run a program with its owner's rights.
const special = 0o6000

// checkName refuses a name that is not relative and clean.
func checkName(name string) error {
	switch {
	case name == ".":
		return nil
	case strings.ContainsRune(name, 0):
		return refuse(name, "its name contains a NUL byte")
	case path.IsAbs(name), !filepath.IsLocal(name):
		return refuse(name, "its name leads outside the directory")
	case path.Clean(name) != name:
		return refuse(name, "its name is not in its shortest form")
	}
	return nil
}

// refuse returns the error for an entry that no correct source sends.
func refuse(name, format string, args ...any) error {
	return api.Errorf(api.KindInvalid, "refused the entry %s: %w", Quote(name), fmt.Errorf(format, args...))
}

// Quote makes a name safe to print: a name with control characters is written as a Go
// string.
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
