package system

import (
	"embed"
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
var unitTemplates embed.FS

// unitDir is the directory for the administrator's units, systemd.unit(5).
const unitDir = "/etc/systemd/system"

// mark is the first line of banger's unit files and of its file of udev rules.
const mark = "# Written by `banger system install`"

// unitNames are the unit files, in the order in which they are written.
var unitNames = []string{vmid.Slice, HelperUnit, DaemonUnit, RecoverUnit}

// Units renders the unit files for an owner. kvmGroup tells that the machine has a
// group of that name, which may open /dev/kvm.
func Units(r record.Record, kvmGroup bool) (map[string]string, error) {
	all, err := template.ParseFS(unitTemplates, "units/*")
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

// unitFiles are the files of systemd's units.
type unitFiles struct{ tree }

// render returns them for this machine, by name.
func (u unitFiles) render(r record.Record) (map[string]string, error) {
	accounts, err := record.ReadAccounts(u.root)
	if err != nil {
		return nil, err
	}
	return Units(r, accounts.HasGroup("kvm"))
}

// oursNamed reports whether banger's unit file exists; another file in its place is an
// error.
func (u unitFiles) oursNamed(name string) (bool, error) {
	return u.ours(filepath.Join(unitDir, name), "the unit")
}

func (u unitFiles) write(r record.Record) error {
	rendered, err := u.render(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(u.path(unitDir), 0o755); err != nil {
		return api.AsError(err)
	}
	for _, name := range unitNames {
		if err := fsx.WriteFile(filepath.Join(u.path(unitDir), name), []byte(rendered[name]), 0o644); err != nil {
			return fsx.DiskError("write unit "+name, err)
		}
	}
	return nil
}

func (u unitFiles) delete() error {
	for _, name := range unitNames {
		if ours, err := u.oursNamed(name); err == nil && ours {
			if err := os.Remove(filepath.Join(u.path(unitDir), name)); err != nil {
				return api.AsError(err)
			}
		}
	}
	return nil
}
