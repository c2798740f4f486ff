package system

import (
	"embed"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/system/record"
	"banger/internal/vmid"
)

//go:embed units
var unitFiles embed.FS

// unitDir is the directory for the administrator's units, systemd.unit(5).
const unitDir = "/etc/systemd/system"

// mark is the first line of banger's unit files and of its file of udev rules.
const mark = "# Written by `banger system install`"

// unitNames are the unit files, in the order in which they are written.
var unitNames = []string{vmid.Slice, HelperUnit, DaemonUnit, RecoverUnit}

// Units renders the unit files for an owner. kvmGroup tells that the machine has a
// group of that name, which may open /dev/kvm.
func Units(r record.Record, kvmGroup bool) (map[string]string, error) {
	all, err := template.ParseFS(unitFiles, "units/*")
	if err != nil {
		return nil, api.AsError(err)
	}
	rendered := map[string]string{}
	for _, name := range unitNames {
		var b strings.Builder
		values := struct {
			record.Record
			KVMGroup bool
		}{r, kvmGroup}
		if err := all.ExecuteTemplate(&b, name, values); err != nil {
			return nil, api.AsError(err)
		}
		rendered[name] = b.String()
	}
	return rendered, nil
}

// ourUnit reports whether banger's unit file exists; another file in its place is an
// error.
func (h *Host) ourUnit(name string) (bool, error) {
	return h.ourFile(filepath.Join(unitDir, name), "the unit")
}

// ourFile reports whether a file that an installation wrote exists; another file in its
// place is an error.
func (h *Host) ourFile(path, what string) (bool, error) {
	data, err := os.ReadFile(h.path(path))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err == nil && strings.HasPrefix(string(data), mark):
		return true, nil
	}
	return false, api.Errorf(api.KindConflict, "cannot install %s %s: another file is there", what, path).
		WithHint("sudo mv %s %s.other", path, path)
}

func (h *Host) writeUnits(r record.Record) error {
	accounts, err := record.ReadAccounts(h.Root)
	if err != nil {
		return err
	}
	rendered, err := Units(r, accounts.HasGroup("kvm"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.path(unitDir), 0o755); err != nil {
		return api.AsError(err)
	}
	for _, name := range unitNames {
		if err := fsx.WriteFile(filepath.Join(h.path(unitDir), name), []byte(rendered[name]), 0o644); err != nil {
			return fsx.DiskError("write unit "+name, err)
		}
	}
	return nil
}

func (h *Host) removeUnits() error {
	for _, name := range unitNames {
		if ours, err := h.ourUnit(name); err == nil && ours {
			if err := os.Remove(filepath.Join(h.path(unitDir), name)); err != nil {
				return api.AsError(err)
			}
		}
	}
	return nil
}
