package image

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"banger/internal/image/ext4"
	"banger/internal/image/oci"
)

// defaultACL is the attribute of a directory that its new files inherit (acl(5)).
const defaultACL = "system.posix_acl_default"

// aclOf is an ACL as setxattr(2) takes it (posix_acl_xattr.h): a tag, permissions and
// an id each.
func aclOf(entries ...[3]uint32) string {
	acl := binary.LittleEndian.AppendUint32(nil, 2) // its version
	for _, e := range entries {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[0]))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[1]))
		acl = binary.LittleEndian.AppendUint32(acl, e[2])
	}
	return string(acl)
}

// TestNothingIsInherited: what a directory would have its new files inherit, they
// have only where their own entries say so.
func TestNothingIsInherited(t *testing.T) {
	const nobody = 1<<32 - 1
	acl := aclOf([3]uint32{1, 7, nobody}, [3]uint32{2, 7, 1000}, [3]uint32{4, 5, nobody}, [3]uint32{16, 7, nobody}, [3]uint32{32, 5, nobody})
	d := tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o2770, Gid: 50, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr." + defaultACL: acl}}
	secret := tar.Header{Name: "d/secret", Typeflag: tar.TypeReg, Mode: 0o640}
	fifo := tar.Header{Name: "d/fifo", Typeflag: tar.TypeFifo, Mode: 0o640}
	sub := tar.Header{Name: "d/sub", Typeflag: tar.TypeDir, Mode: 0o750}
	below := tar.Header{Name: "d/none/below", Typeflag: tar.TypeReg, Mode: 0o640}
	file := fileOf(t, archive(t, d, secret, fifo, sub, below))
	for name, want := range map[string]string{
		"d": "42770 0:50 x4 [" + defaultACL + "]", "d/secret": "100640 0:0 x1 []", "d/fifo": "10640 0:0 0,0 x1 []",
		"d/sub": "40750 0:0 x2 []", "d/none": "40755 0:0 x2 []", "d/none/below": "100640 0:0 x1 []",
	} {
		if got := described(t, file, name) + " " + attrsOf(t, file, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// fileOf is the image that layers make.
func fileOf(t *testing.T, layers ...[]byte) string {
	t.Helper()
	c := open(t)
	var all []oci.Layer
	for _, data := range layers {
		all = append(all, layerOf(t, data, gzipped))
	}
	made, err := c.maker.fromLayers(t.Context(), []string{"test"}, imageOf(t, all...), silent)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(c.records.Path(strings.TrimPrefix(made.Digest, "sha256:")), rootfsFile)
}

// attrsOf names the extended attributes of a file in an image.
func attrsOf(t *testing.T, image, name string) string {
	t.Helper()
	var names []string
	inode(t, image, name, func(i *ext4.Inode) {
		attrs, err := i.Attrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attrs {
			names = append(names, a.Name)
		}
	})
	return fmt.Sprint(names)
}

// TestOwnersThatLinuxDoesNotHave: chown(2) would take the lower 32 bits.
func TestOwnersThatLinuxDoesNotHave(t *testing.T) {
	big, negative := ownedBy(fileEntry("big", ""), 1<<32+1000, 1<<32+7), ownedBy(symlinkEntry("negative", "x"), 5, -5)
	negative.Format = tar.FormatGNU
	setgid := tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o2755, Gid: 50}
	file := fileOf(t, archive(t, big, negative, setgid, ownedBy(fileEntry("d/in", ""), 0, 1<<32+7)))
	for name, want := range map[string]string{"big": "100644 0:0 x1", "negative": "120777 0:0 x1", "d/in": "100644 0:0 x1"} {
		if got := described(t, file, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestWhiteoutBelowAFile: what is to go is not there.
func TestWhiteoutBelowAFile(t *testing.T) {
	file := fileOf(t, archive(t, fileEntry("a", "kept")), archive(t, fileEntry("a/.wh.b", ""), fileEntry("c", "")))
	for _, name := range []string{"a", "c"} {
		if got := described(t, file, name); got != "100644 0:0 x1" {
			t.Errorf("%s: %s", name, got)
		}
	}
}
