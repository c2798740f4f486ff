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

// hasUdev reports whether the machine has a udevd that reads rules.
func (h *Host) hasUdev() bool {
	for _, dir := range []string{"/etc/udev", "/usr/lib/udev", "/lib/udev"} {
		if info, err := os.Stat(h.path(dir)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// ourRules is ourUnit for the file of udev rules.
func (h *Host) ourRules() (bool, error) { return h.ourFile(udevFile, "udev's rules") }

func (h *Host) writeRules() error {
	if !h.hasUdev() {
		return nil
	}
	path := h.path(udevFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return api.AsError(err)
	}
	if err := fsx.WriteFile(path, []byte(udevRules), 0o644); err != nil {
		return fsx.DiskError("write udev's rules", err)
	}
	return nil
}

func (h *Host) removeRules() error {
	ours, err := h.ourRules()
	if err != nil || !ours {
		return nil // another file, if any
	}
	if err := os.Remove(h.path(udevFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return api.AsError(err)
	}
	return nil
}
