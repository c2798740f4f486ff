package system

import (
	_ "embed"
	"errors"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"
)

//go:embed udev/59-banger.rules
var udevRules string

// udevFile is in the directory for the administrator's rules, udev(7). udevd notices
// changes of the directory.
const udevFile = "/etc/udev/rules.d/59-banger.rules"

// rulesFile is the file of udev's rules.
type rulesFile struct{ tree }

// wanted reports whether the machine has a udevd that reads rules.
func (f rulesFile) wanted() bool {
	for _, dir := range []string{"/etc/udev", "/usr/lib/udev", "/lib/udev"} {
		if info, err := os.Stat(f.path(dir)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// present reports whether banger's file exists; another in its place is an error.
func (f rulesFile) present() (bool, error) { return f.ours(udevFile, "udev's rules") }

func (f rulesFile) write() error {
	if !f.wanted() {
		return nil
	}
	path := f.path(udevFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return api.AsError(err)
	}
	if err := fsx.WriteFile(path, []byte(udevRules), 0o644); err != nil {
		return fsx.DiskError("write udev's rules", err)
	}
	return nil
}

func (f rulesFile) delete() error {
	ours, err := f.present()
	if err != nil || !ours {
		return nil // another file, if any
	}
	if err := os.Remove(f.path(udevFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return api.AsError(err)
	}
	return nil
}
