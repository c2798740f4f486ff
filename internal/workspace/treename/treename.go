// Package treename checks names that came from a guest, before git or this host's file
// system sees them.
package treename

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxComponent = 255 // NAME_MAX of Linux
	// maxPath leaves room for the directory of the work tree below PATH_MAX, which is 4096.
	maxPath = 3000
)

// ErrMalformed is of names that no file system has: who sends them breaks the protocol.
var ErrMalformed = errors.New("not the name of a file")

// Check returns why path must not be in a tree, or nil. It is relative, and slashes separate
// its components. link says that it is a symbolic link.
//
// It refuses at least what git refuses (verify_path in read-cache.c, fsck_tree in fsck.c), with
// core.protectHFS and core.protectNTFS: the tree may be checked out on another machine.
func Check(path string, link bool) error {
	switch {
	case path == "", strings.HasPrefix(path, "/"), strings.HasSuffix(path, "/"), strings.ContainsRune(path, 0):
		return ErrMalformed
	case len(path) > maxPath:
		return fmt.Errorf("its path has %d bytes, and %d is the limit", len(path), maxPath)
	}
	for component := range strings.SplitSeq(path, "/") {
		if err := checkComponent(component, link); err != nil {
			return err
		}
	}
	return nil
}

func checkComponent(name string, link bool) error {
	switch {
	case name == "", name == ".", name == "..":
		return ErrMalformed
	case len(name) > maxComponent:
		return fmt.Errorf("a component of its path has %d bytes, and %d is the limit", len(name), maxComponent)
	}
	// NTFS takes a backslash for a slash.
	for part := range strings.SplitSeq(name, `\`) {
		switch {
		case IsGit(part):
			return fmt.Errorf("%.40q is the directory of a repository on some file system", name)
		case part == ".." && part != name:
			return fmt.Errorf("%.40q leaves its directory on some file system", name)
		case link && isGitModules(part):
			return errors.New("git would follow the symbolic link .gitmodules on some file system")
		}
	}
	return nil
}

// IsGit reports whether git or any file system that git knows takes a component for .git.
func IsGit(name string) bool {
	name = strings.ToLower(withoutIgnorable(name))
	for _, git := range []string{".git", "git~1"} {
		// NTFS drops dots and spaces at the end, and a colon begins the name of a stream.
		if rest, found := strings.CutPrefix(name, git); found && endsOnNTFS(rest) {
			return true
		}
	}
	return false
}

// endsOnNTFS reports whether a name ends before rest, as NTFS sees it.
func endsOnNTFS(rest string) bool {
	rest = strings.TrimLeft(rest, ". ")
	return rest == "" || rest[0] == ':'
}

// isGitModules is is_ntfs_dotgitmodules and is_hfs_dotgitmodules of git's path.c and utf8.c.
func isGitModules(name string) bool {
	name = strings.ToLower(withoutIgnorable(name))
	if rest, found := strings.CutPrefix(name, ".gitmodules"); found && endsOnNTFS(rest) {
		return true
	}
	// A short name on NTFS: six letters and a number, or, after four collisions, two to six
	// letters of a hash, of which gi7eba is the one of .gitmodules.
	stem, number, found := strings.Cut(name, "~")
	digits := len(number) - len(strings.TrimLeft(number, "0123456789"))
	if !found || digits == 0 || !endsOnNTFS(number[digits:]) {
		return false
	}
	return stem == "gitmod" || stem != "" && strings.HasPrefix("gi7eba", stem)
}

// withoutIgnorable removes the code points that HFS+ ignores in names (next_hfs_char in
// git's utf8.c, after Apple's technical note 1150).
func withoutIgnorable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, name)
}
