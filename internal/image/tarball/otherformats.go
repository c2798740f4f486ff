package tarball

import (
	"bytes"
	"strings"

	"banger/api"
)

const tarMagicOffset = 257 // of "ustar" (tar(5))

// SniffBytes is how much of a file is read to detect its format: the magic number
// farthest in is that of ISO 9660; btrfs is not detected.
const SniffBytes = 33 << 10

// otherFormats are formats that people try to import but that are not supported, by a
// magic number at an offset (magic(5)). The first match counts.
var otherFormats = []struct {
	offset      int
	magic, name string
	hint        string
}{
	{0, "QFI\xfb", "a disk image of QEMU (qcow2)", disks},
	{0, "KDMV", "a disk image of VMware (vmdk)", disks},
	{0, "# Disk Desc", "a description of a disk of VMware (vmdk)", disks},
	{0, "conectix", "a disk image of Virtual PC (vhd)", disks},
	{0, "vhdxfile", "a disk image of Hyper-V (vhdx)", disks},
	{64, "\x7f\x10\xda\xbe", "a disk image of VirtualBox (vdi)", disks},
	{0, "PK\x03\x04", "a zip archive", repack},
	{0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive", repack},
	{0, "Rar!", "a RAR archive", repack},
	{0, "070701", "a cpio archive", repack},
	{0, "070702", "a cpio archive", repack},
	{0, "070707", "a cpio archive", repack},
	{0, "\xc7\x71", "a cpio archive", repack},
	{0, "!<arch>\n", "an ar archive, as Debian's packages are", repack},
	{0, "\xed\xab\xee\xdb", "an RPM package", repack},
	{0, "xar!", "a xar archive", repack},
	{0, "LZIP", "compressed with lzip", recompress},
	{0, "\x5d\x00\x00", "compressed with lzma", recompress},
	{0, "\x1f\x9d", "compressed with compress", recompress},
	{0, "\x89LZO", "compressed with lzop", recompress},
	{0, "hsqs", "a squashfs file system", "unsquashfs -d DIRECTORY FILE, and import the directory"},
	{0, "XFSB", "an XFS file system", ext4Only},
	{1024, "\xe2\xe1\xf5\xe0", "an EROFS file system", ext4Only},
	{1024, "\x10\x20\xf5\xf2", "an F2FS file system", ext4Only},
	{32769, "CD001", "an image of a CD or DVD (ISO 9660)", ext4Only},
	{512, "EFI PART", "a whole disk with partitions (GPT)", partitions},
	{0, "\x7fELF", "a program (ELF)", "a kernel is for `banger kernel import`"},
	{0, "MZ", "a program for Windows, or a kernel", "a kernel is for `banger kernel import`"},
	{510, "\x55\xaa", "a whole disk with partitions (MBR)", partitions},
}

const (
	disks      = "qemu-img convert -O raw FILE disk.raw   converts it to a raw disk; import the ext4 file system on it"
	partitions = "losetup --show -P FILE   makes its partitions visible; import a copy of the root file system's partition, if it is ext4"
	repack     = "unpack it into a directory, and import the directory"
	ext4Only   = "mount it, and import the directory; only ext4 can be imported as a file"
	recompress = "compress it with gzip, xz, zstd, bzip2 or lz4 instead"
)

// OtherFormat returns the error for a file that is not an archive, if its format is
// known, or nil.
func OtherFormat(head []byte) *api.Error {
	for _, o := range otherFormats {
		if len(head) > o.offset && bytes.HasPrefix(head[o.offset:], []byte(o.magic)) && !IsTar(head) {
			if strings.HasPrefix(o.name, "comp") {
				return api.Errorf(api.KindUnsupported, "it is %s, which cannot be read here", o.name).WithHint("%s", o.hint)
			}
			return api.Errorf(api.KindUnsupported, "it is %s", o.name).WithHint("%s", o.hint)
		}
	}
	return nil
}

// IsTar reports whether an archive starts with head.
func IsTar(head []byte) bool {
	return len(head) >= tarMagicOffset+5 && string(head[tarMagicOffset:tarMagicOffset+5]) == "ustar"
}
