package dist

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/google/rpmpack"
)

// rpmArch are rpm's names of the platforms.
var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// RPMName is the package's file name.
func (p Package) RPMName() string {
	return fmt.Sprintf("banger-%s-%s.%s.rpm", packageVersion(p.Version), revision, rpmArch[p.Arch])
}

// rpmRecommends are what banger needs of scripts/deps.sh, by Fedora's names.
func (p Package) rpmRecommends() []string {
	names := []string{"mmdebstrap", "e2fsprogs"}
	if p.Arch == "amd64" {
		names = append([]string{"qemu-system-x86-core"}, names...)
	}
	return names
}

// RPM packs a package for rpm. It does not contain the name of the build host.
func (p Package) RPM() ([]byte, error) {
	m := rpmpack.RPMMetaData{
		Name: "banger", Version: packageVersion(p.Version), Release: revision, Arch: rpmArch[p.Arch], Epoch: rpmpack.NoEpoch,
		Summary: summary, Description: strings.Join(description, "\n"), Licence: licence,
		Packager: maintainer, BuildHost: "reproducible", BuildTime: p.Time, Compressor: "gzip:9",
	}
	for _, name := range p.rpmRecommends() {
		if err := m.Recommends.Set(name); err != nil {
			return nil, err
		}
	}
	r, err := rpmpack.NewRPM(m)
	if err != nil {
		return nil, err
	}
	for _, f := range p.sorted() {
		name, isDir := strings.CutSuffix(f.Name, "/")
		if isDir && !strings.HasSuffix(name, "/banger") { // the others are the system's
			continue
		}
		r.AddFile(p.rpmFile(f, name, isDir))
	}
	var out bytes.Buffer
	err = r.Write(&out)
	return out.Bytes(), err
}

// Types of files in a mode (inode(7)).
const (
	modeDir  = 0o040000
	modeLink = 0o120000
)

func (p Package) rpmFile(f File, name string, isDir bool) rpmpack.RPMFile {
	file := rpmpack.RPMFile{Name: name, Mode: uint(f.Mode), Body: f.Data, Owner: "root", Group: "root", MTime: uint32(p.Time.Unix())}
	switch {
	case isDir:
		file.Mode |= modeDir
	case f.Link != "":
		file.Mode |= modeLink
		file.Body = []byte(f.Link)
	case strings.HasPrefix(name, "/usr/share/doc/") || strings.HasPrefix(name, "/usr/share/man/"):
		file.Type = rpmpack.DocFile
	}
	return file
}
