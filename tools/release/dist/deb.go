package dist

import (
	"archive/tar"
	"bytes"
	"crypto/md5"
	"fmt"
	"strings"
)

// DebName is the package's file name (deb-version(7): the leading v goes).
func (p Package) DebName() string {
	return fmt.Sprintf("banger_%s-%s_%s.deb", packageVersion(p.Version), revision, p.Arch)
}

// debRecommends are what banger needs of scripts/deps.sh, by Debian's names.
func (p Package) debRecommends() string {
	names := []string{"mmdebstrap", "e2fsprogs", "uidmap"}
	if p.Arch == "amd64" { // guests run on x86-64 so far
		names = append([]string{"qemu-system-x86"}, names...)
	}
	return strings.Join(names, ", ")
}

// Deb packs a Debian package in the format of deb(5): an ar archive of the format's
// version, the control files and the files.
func (p Package) Deb() ([]byte, error) {
	files := p.sorted()
	sums, size := "", 0
	for i, f := range files {
		files[i].Name = "." + f.Name
		size += (len(f.Data) + 1023) / 1024
		if f.Data != nil {
			sums += fmt.Sprintf("%x  %s\n", md5.Sum(f.Data), strings.TrimPrefix(f.Name, "/"))
		}
	}
	// dpkg-deb accepts names that ustar cannot store only in GNU's format.
	data, err := tarball(append([]File{{Name: "./", Mode: 0o755}}, files...), p.Time, tar.FormatGNU)
	if err != nil {
		return nil, err
	}
	control, err := tarball([]File{
		{Name: "./", Mode: 0o755},
		{Name: "./control", Mode: 0o644, Data: []byte(p.control(size))},
		{Name: "./md5sums", Mode: 0o644, Data: []byte(sums)},
	}, p.Time, tar.FormatGNU)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", control}, {"data.tar.gz", data}} {
		p.member(&out, m.name, m.data)
	}
	return out.Bytes(), nil
}

// member writes a member of an ar archive: a header of 60 bytes, and data that
// is padded to an even length (deb(5), ar(5)).
func (p Package) member(out *bytes.Buffer, name string, data []byte) {
	fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, p.Time.Unix(), 0, 0, 0o100644, len(data))
	out.Write(data)
	if len(data)%2 == 1 {
		out.WriteByte('\n')
	}
}

// control is the package's description (deb-control(5)).
func (p Package) control(kibibytes int) string {
	return fmt.Sprintf(`Package: banger
Version: %s-%s
Section: admin
Priority: optional
Architecture: %s
Maintainer: %s
Installed-Size: %d
Recommends: %s
Description: %s
 %s
`, packageVersion(p.Version), revision, p.Arch, maintainer, kibibytes, p.debRecommends(), summary, strings.Join(description, "\n "))
}
