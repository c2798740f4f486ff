package update

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/update/journal"
)

// writeFiles writes the files of systemd and udev before anything is stopped: systemd
// stops a unit with the settings that it has read.
func (r *run) writeFiles(ctx context.Context) error {
	if len(r.j.Files) == 0 {
		return nil
	}
	if err := r.takeHold(); err != nil {
		return err
	}
	r.Report("writing unit files")
	if err := applyFiles(r.j.Files); err != nil {
		return err
	}
	enable, disable := changedUnits(r.j.Files)
	return r.Reload(ctx, enable, disable)
}

func applyFiles(files []journal.Content) error {
	for _, f := range files {
		if err := applyFile(f.Path, f.After); err != nil {
			return err
		}
	}
	return nil
}

// applyFile writes a file, or removes it if text is nil.
func applyFile(path string, text *string) error {
	if text == nil {
		return fsx.DiskError("remove "+path, remove(path))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return api.AsError(err)
	}
	return fsx.DiskError("write "+path, fsx.WriteFile(path, []byte(*text), 0o644))
}

// changedUnits names the units that are added and removed. Units that were there stay
// enabled or disabled, as the administrator set them.
func changedUnits(files []journal.Content) (added, removed []string) {
	for _, f := range files {
		name := filepath.Base(f.Path)
		switch {
		case f.Before == nil && f.After != nil && hasInstallSection(*f.After):
			added = append(added, name)
		case f.Before != nil && f.After == nil && hasInstallSection(*f.Before):
			removed = append(removed, name)
		}
	}
	return added, removed
}

func hasInstallSection(text string) bool { return strings.Contains("\n"+text, "\n[Install]\n") }

// reversed returns the changes that undo files.
func reversed(files []journal.Content) []journal.Content {
	var reversed []journal.Content
	for _, f := range files {
		reversed = append(reversed, journal.Content{Path: f.Path, Before: f.After, After: f.Before})
	}
	return reversed
}
