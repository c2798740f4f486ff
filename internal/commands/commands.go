// Package commands knows the links that put banger on PATH: what an installation calls them, where they lead, and how
// each of them is.
package commands

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"banger/api"
	"banger/internal/host/fsx"
)

// Names are the links of this version's installation: the command, and git's name for it (gitremote-helpers(7)).
var Names = []string{"banger", "git-remote-banger"}

// Target is what each of them contains. The links are in PREFIX/bin, and the programs in PREFIX/lib/banger.
const Target = "../lib/banger/current/banger"

// State is how a link is.
type State string

// The states of a link.
const (
	Ours    State = "ours"
	Missing State = "missing"
	Other   State = "other" // another file or link has the name
)

// Link is a link with its state.
type Link struct {
	Name  string
	State State
}

// Dir returns the directory of the links, given that of an installation's programs (PREFIX/lib/banger). It is empty if
// the programs are elsewhere: then no links belong to them.
func Dir(programs string) string {
	prefix, ok := strings.CutSuffix(filepath.Clean(programs), "/lib/banger")
	if !ok {
		return ""
	}
	return filepath.Join("/", prefix, "bin")
}

// Look returns how the link at a path is.
func Look(path string) State {
	target, err := os.Readlink(path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return Missing
	case err == nil && target == Target:
		return Ours
	}
	return Other
}

// Unlinked returns those names in dir that are not links of ours.
func Unlinked(dir string, names []string) []Link {
	var found []Link
	for _, name := range names {
		if state := Look(filepath.Join(dir, name)); state != Ours {
			found = append(found, Link{name, state})
		}
	}
	return found
}

// Add makes the link at a path, and reports whether it was not there. Nothing is replaced.
func Add(path string) (bool, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, api.Errorf(api.KindInternal, "cannot add the command %s: %w", path, err)
	}
	err := os.Symlink(Target, path)
	switch {
	case errors.Is(err, os.ErrExist) && Look(path) == Ours:
		return false, nil
	case errors.Is(err, os.ErrExist):
		return false, api.Errorf(api.KindConflict, "cannot add the command %s: another file is there", path)
	case err == nil:
		err = fsx.SyncDir(dir)
	}
	return err == nil, fsx.DiskError("add the command "+path, err)
}

// maxNames bounds how many links a version may have, and maxName the bytes of a name.
const (
	maxNames = 16
	maxName  = 64
)

// ourName is a name of several words of which one is banger: no version takes the name of another program.
var ourName = regexp.MustCompile(`^([a-z0-9]+-)*banger(-[a-z0-9]+)*$`)

// Check refuses names, which another version has told, that are not those of links of banger.
func Check(names []string) error {
	if len(names) > maxNames {
		return fmt.Errorf("%d commands are too many", len(names))
	}
	for _, name := range names {
		if len(name) > maxName || !ourName.MatchString(name) {
			return fmt.Errorf("%.80q is not a valid name of a command of banger", name)
		}
	}
	return nil
}
