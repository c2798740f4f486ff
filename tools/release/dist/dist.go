// Package dist makes the files of a release: archives, packages, checksums, a bill of
// materials and the installer. The same checkout, Go version and options give the same
// bytes, on any machine and in any directory.
package dist

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/update/release"
)

// Platforms are the platforms of a release, in Go's names.
var Platforms = []string{"amd64", "arm64"}

const goos = "linux"

// Options describe a build.
type Options struct {
	Source     Source
	Root       []byte // the update repository's root.json; nil: the build cannot update itself
	Repository string // the update repository's URL
	Download   string // where the installer finds the release; empty: it needs --from
	Out        string // the directory to make
	GoCache    string // the Go tool's cache; empty: the default
	Report     func(string)
}

// Build makes a release in a directory beside o.Out, and renames it when everything is
// done.
func Build(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Out), 0o755); err != nil {
		return api.AsError(err)
	}
	stage, err := os.MkdirTemp(filepath.Dir(o.Out), ".release-")
	if err != nil {
		return fsx.DiskError("make the release", err)
	}
	defer os.RemoveAll(stage)
	built := filepath.Join(stage, "programs")
	files := filepath.Join(stage, "files")
	if err := os.Mkdir(files, 0o755); err != nil {
		return fsx.DiskError("make the release", err)
	}
	if err := o.build(ctx, built, files); err != nil {
		return err
	}
	if err := os.RemoveAll(o.Out); err != nil {
		return api.AsError(err)
	}
	return fsx.DiskError("make the release", errors.Join(os.Rename(files, o.Out), fsx.SyncDir(filepath.Dir(o.Out))))
}

func (o Options) build(ctx context.Context, built, files string) error {
	var bill []Linked
	for _, arch := range Platforms {
		o.Report(fmt.Sprintf("building %s for %s/%s", o.Source.Version, goos, arch))
		dir := filepath.Join(built, arch)
		c := Compilation{Source: o.Source.Dir, Out: dir, Arch: arch, Programs: release.Programs, Flags: o.linkerFlags(), GoCache: o.GoCache}
		if err := c.Run(ctx); err != nil {
			return err
		}
		linked, err := readLinked(dir, arch)
		if err != nil {
			return err
		}
		bill = append(bill, linked...)
		o.Report(fmt.Sprintf("packing %s/%s", goos, arch))
		if err := o.pack(dir, arch, files); err != nil {
			return err
		}
	}
	o.Report("writing checksums and the list of modules")
	return o.describe(bill, files)
}

// pack writes the archive and the packages of a platform.
func (o Options) pack(programs, arch, to string) error {
	files, err := readPrograms(programs)
	if err != nil {
		return err
	}
	archive, err := Archive(files, o.Source.Time)
	if err != nil {
		return err
	}
	p := Package{Version: o.Source.Version, Arch: arch, Time: o.Source.Time}
	if p.Files, err = tree(o.Source.Dir, files); err != nil {
		return err
	}
	deb, err := p.Deb()
	if err != nil {
		return err
	}
	rpm, err := p.RPM()
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		release.Target(o.Source.Version, goos, arch): archive, p.DebName(): deb, p.RPMName(): rpm,
	} {
		if err := os.WriteFile(filepath.Join(to, name), data, 0o644); err != nil {
			return fsx.DiskError("write "+name, err)
		}
	}
	return nil
}

// describe writes the files that are not for one platform, the checksums last.
func (o Options) describe(bill []Linked, to string) error {
	sbom, err := SBOM(o.Source, bill)
	if err != nil {
		return err
	}
	installer, err := Installer(o.Source.Dir, o.Source.Version, o.Download)
	if err != nil {
		return err
	}
	record, err := o.record().encode()
	if err != nil {
		return err
	}
	files := map[string][]byte{SBOMName(o.Source.Version): sbom, "install.sh": installer, recordName: record}
	if o.Root != nil {
		files[rootName] = o.Root
	}
	for name, data := range files {
		mode := os.FileMode(0o644)
		if name == "install.sh" {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(to, name), data, mode); err != nil {
			return fsx.DiskError("write "+name, err)
		}
	}
	return writeSums(to)
}

func (o Options) record() Record {
	return Record{
		Version: o.Source.Version, Commit: o.Source.Commit, BuiltAt: o.Source.Time, Go: runtime.Version(),
		Repository: o.Repository, Download: o.Download,
	}
}

// linkerFlags returns the programs' build information. The build id is removed because
// it names inputs that do not affect the result.
func (o Options) linkerFlags() string {
	const x = " -X banger/internal/buildinfo."
	flags := "-s -w -buildid=" + x + "version=" + o.Source.Version + x + "commit=" + o.Source.Commit
	if o.Root != nil {
		flags += x + "updateRoot=" + base64.StdEncoding.EncodeToString(o.Root) + x + "updateRepository=" + o.Repository
	}
	return flags
}
