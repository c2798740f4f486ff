package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"banger/api"
)

// The layout of a qcow2 file: docs/interop/qcow2.txt in QEMU's sources.
const (
	magic         = 0x514649fb // "QFI\xfb"
	version       = 3
	headerLength  = 104
	backingFormat = 0xe2792aca // header extension: name of the backing file's format

	// maxBackingName is the format's limit for the backing file's name, in bytes.
	maxBackingName = 1023

	refcountOrder = 4 // refcounts have 1<<4 bits

	// Where the header has the disk's size, the number of entries of the L1 table, and its place.
	atSize   = 24
	atL1Size = 36
	atL1     = 40
)

// clusterBits is the size of the unit of copying.
const (
	clusterBits = 16
	clusterSize = 1 << clusterBits
)

// The clusters of a new overlay, in order: header, refcount table, one refcount block, L1
// table. Each has a reference count of one; they contain no guest data, so every read goes to
// the backing file.
const (
	refcountTableCluster = 1
	refcountBlockCluster = 2
	l1Cluster            = 3
)

// l2Coverage is the number of bytes of the disk that one entry of the L1 table covers: one
// L2 table is one cluster of 8-byte entries, each for one cluster.
const l2Coverage = clusterSize / 8 * clusterSize

// overlay describes a new overlay over a raw backing file.
type overlay struct {
	size    int64
	backing string
}

func (o overlay) l1Entries() int64 { return max(1, (o.size+l2Coverage-1)/l2Coverage) }

func (o overlay) l1Clusters() int64 { return (o.l1Entries()*8 + clusterSize - 1) / clusterSize }

// length returns the length of the whole file. The L1 table is all zeros, and so a hole.
func (o overlay) length() int64 { return (l1Cluster + o.l1Clusters()) * clusterSize }

// metadata returns the file's content up to the L1 table.
func (o overlay) metadata() ([]byte, error) {
	if o.size <= 0 {
		return nil, errors.New("the base is empty")
	}
	if len(o.backing) > maxBackingName {
		return nil, fmt.Errorf("the base's path is longer than %d bytes, which qcow2 cannot hold", maxBackingName)
	}
	used := l1Cluster + o.l1Clusters()
	if used > clusterSize*8>>refcountOrder {
		return nil, fmt.Errorf("the base is too large: %d bytes", o.size)
	}
	data := make([]byte, l1Cluster*clusterSize)
	o.header(data)
	be := binary.BigEndian
	be.PutUint64(data[refcountTableCluster*clusterSize:], refcountBlockCluster*clusterSize)
	for i := range used {
		be.PutUint16(data[refcountBlockCluster*clusterSize+2*i:], 1)
	}
	return data, nil
}

// header writes the header, its extension and the backing file's name.
func (o overlay) header(data []byte) {
	be := binary.BigEndian
	const format = "raw"
	extension := data[headerLength:]
	be.PutUint32(extension, backingFormat)
	be.PutUint32(extension[4:], uint32(len(format)))
	copy(extension[8:], format) // padded to 8 bytes; eight zero bytes end the list
	const name = headerLength + 8 + 8 + 8
	copy(data[name:], o.backing)

	be.PutUint32(data[0:], magic)
	be.PutUint32(data[4:], version)
	be.PutUint64(data[8:], name)
	be.PutUint32(data[16:], uint32(len(o.backing)))
	be.PutUint32(data[20:], clusterBits)
	be.PutUint64(data[atSize:], uint64(o.size))
	be.PutUint32(data[atL1Size:], uint32(o.l1Entries()))
	be.PutUint64(data[atL1:], l1Cluster*clusterSize)
	be.PutUint64(data[48:], refcountTableCluster*clusterSize)
	be.PutUint32(data[56:], 1) // clusters of the refcount table
	be.PutUint32(data[96:], refcountOrder)
	be.PutUint32(data[100:], headerLength)
}

// grow makes an overlay size bytes large, if it is smaller. The L1 table has whole clusters; size and
// number of entries stand in one sector of the header, which is written at once. What follows the
// entries in use is zero in a table that we made, but need not be in one that QEMU made when it grew
// the disk of a running VM: such a table may be in a cluster that was used before.
func grow(f *os.File, size int64) error {
	be := binary.BigEndian
	header := make([]byte, headerLength)
	if _, err := f.ReadAt(header, 0); err != nil {
		return err
	}
	if be.Uint32(header) != magic || be.Uint32(header[4:]) != version || be.Uint32(header[20:]) != clusterBits {
		return errors.New("it is not an overlay that banger made")
	}
	had := overlay{size: int64(be.Uint64(header[atSize:]))}
	if had.size >= size {
		return nil
	}
	wants := overlay{size: size}
	if most := had.l1Clusters() * clusterSize / 8 * l2Coverage; wants.l1Clusters() > had.l1Clusters() {
		return api.Errorf(api.KindUnsupported, "cannot grow disk %s to %d GiB: it can have %d TiB at most, as it was made for %d GiB", f.Name(), size>>30, most>>40, had.size>>30).
			WithHint("banger vm commit, then banger vm create --image --disk: that makes a VM with a disk of any size")
	}
	if used, wanted := int64(be.Uint32(header[atL1Size:])), wants.l1Entries(); wanted > used {
		unused := make([]byte, 8*(wanted-used))
		if _, err := f.WriteAt(unused, int64(be.Uint64(header[atL1:]))+8*used); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	be.PutUint64(header[atSize:], uint64(size))
	be.PutUint32(header[atL1Size:], uint32(max(wants.l1Entries(), int64(be.Uint32(header[atL1Size:])))))
	if _, err := f.WriteAt(header[atSize:atL1Size+4], atSize); err != nil {
		return err
	}
	return f.Sync()
}
