package blockdev

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"banger/api"
)

// The format of a copy-on-write file (drivers/md/dm-snap-persistent.c): chunks of equal
// size, the first of which is a header. Areas follow: one chunk of exceptions, 16 bytes
// each, and the chunks of data that they describe.
const (
	chunkSectors      = 8
	chunkSize         = chunkSectors * sectorSize
	exceptionSize     = 16
	exceptionsPerArea = chunkSize / exceptionSize
)

// leastCow is the minimal size of a usable file: header, exceptions, one chunk of data.
const leastCow = 3 * chunkSize

// CowBytes returns the size of a sparse copy-on-write file that can never become full,
// for a base of that many bytes: a chunk for each chunk of the base, and the
// exceptions; one more area than can be full, as the next one is cleared when one
// becomes full (persistent_commit_exception). It adds one MiB and rounds up to a whole
// MiB: holes cost nothing.
func CowBytes(base int64) int64 {
	const round = 1 << 20
	base = max(base, 0)
	if base > math.MaxInt64/2 {
		return math.MaxInt64 &^ (round - 1) // more than any file system supports (EFBIG)
	}
	data := (base + chunkSize - 1) / chunkSize
	areas := data/exceptionsPerArea + 2
	return ((1+data+areas)*chunkSize + 2*round - 1) &^ (round - 1)
}

// revive makes a snapshot usable again that the kernel declared invalid. The kernel
// does so if it cannot write to the file, as on a full disk, because the base may have
// changed without its old content being saved. banger's bases never change: all content
// of the file stays valid, and the guest got an error for each failed write. "There is
// no way of recovering" (dm-snap-persistent.c) is true only for bases that are written
// to.
func revive(cow *os.File) error {
	h, err := readHeader(cow)
	if err != nil || h.isNew() || h.valid != 0 {
		return err
	}
	if _, err := cow.WriteAt([]byte{1, 0, 0, 0}, atValid); err != nil {
		return err
	}
	return cow.Sync()
}

// cowHeader is the start of a copy-on-write file; all fields are zero in a new file.
type cowHeader struct{ magic, valid, version, chunkSectors uint32 }

const (
	cowMagic   = 0x70416e53 // "SnAp"
	cowVersion = 1
	atValid    = 4
)

func (h cowHeader) isNew() bool { return h == cowHeader{} }

// readHeader reads the header of a copy-on-write file, which its owner can write to,
// and refuses any file that is neither new nor exactly as created by the kernel for
// this package. The kernel trusts a header: for chunks larger than in the table it
// allocates three (read_header and alloc_area in dm-snap-persistent.c), up to 1 GiB
// each.
func readHeader(cow *os.File) (h cowHeader, err error) {
	var raw [16]byte
	if _, err := cow.ReadAt(raw[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return h, err
	}
	for n, field := range []*uint32{&h.magic, &h.valid, &h.version, &h.chunkSectors} {
		*field = binary.LittleEndian.Uint32(raw[4*n:])
	}
	if !h.isNew() && (h.magic != cowMagic || h.valid > 1 || h.version != cowVersion || h.chunkSectors != chunkSectors) {
		return h, api.Errorf(api.KindInvalid, "%s is not a copy-on-write file of banger: it starts with %x, valid %d, version %d, chunks of %d sectors",
			cow.Name(), h.magic, h.valid, h.version, h.chunkSectors).
			WithHint("another program wrote to the VM's disk: delete the VM with banger vm delete, or restore a copy of the file")
	}
	return h, nil
}

// newCow checks that the descriptor is that of a copy-on-write file.
func newCow(f *os.File, tag string) (backing, error) {
	const what = "copy-on-write file"
	b, err := newBacking(what, f, tag, unix.LO_FLAGS_AUTOCLEAR)
	if err != nil {
		return b, err
	}
	if b.size < leastCow {
		return b, api.Errorf(api.KindInvalid, "the %s has %d bytes, but needs at least %d", what, b.size, leastCow)
	}
	_, err = readHeader(f)
	return b, err
}
