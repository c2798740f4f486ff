package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The layout of a qcow2 file: docs/interop/qcow2.txt in QEMU's sources.
const (
	magic         = 0x514649fb // "QFI\xfb"
	version       = 3
	headerLength  = 104
	backingFormat = 0xe2792aca // header extension: name of the backing file's format

	// The limit that the format sets for the backing file's name.
	maxBackingName = 1023

	refcountOrder = 4 // refcounts have 1<<4 bits
)

// clusterBits is the size of the unit of copying.
const (
	clusterBits = 16
	clusterSize = 1 << clusterBits
)

// The clusters of a fresh overlay, in order: header, refcount table, one
// refcount block, L1 table. All is reference counted once; no guest data is
// there, so every read goes to the backing file.
const (
	refcountTableCluster = 1
	refcountBlockCluster = 2
	l1Cluster            = 3
)

// l2Coverage is how much of the disk one entry of the L1 table stands for: one
// L2 table is one cluster of 8-byte entries, each for one cluster.
const l2Coverage = clusterSize / 8 * clusterSize

// overlay describes a fresh overlay over a raw backing file.
type overlay struct {
	size    int64
	backing string
}

func (o overlay) l1Entries() int64 { return max(1, (o.size+l2Coverage-1)/l2Coverage) }

func (o overlay) l1Clusters() int64 { return (o.l1Entries()*8 + clusterSize - 1) / clusterSize }

// length is that of the whole file. The L1 table is all zero, and so a hole.
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
	be.PutUint64(data[24:], uint64(o.size))
	be.PutUint32(data[36:], uint32(o.l1Entries()))
	be.PutUint64(data[40:], l1Cluster*clusterSize)
	be.PutUint64(data[48:], refcountTableCluster*clusterSize)
	be.PutUint32(data[56:], 1) // clusters of the refcount table
	be.PutUint32(data[96:], refcountOrder)
	be.PutUint32(data[100:], headerLength)
}
