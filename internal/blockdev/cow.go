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

// What a copy-on-write file consists of (drivers/md/dm-snap-persistent.c):
// chunks of equal size, of which the first is a header. Then come areas: one
// chunk of exceptions, 16 bytes each, and as many chunks of data as that
// describes.
const (
	chunkSectors      = 8
	chunkSize         = chunkSectors * sectorSize
	exceptionSize     = 16
	exceptionsPerArea = chunkSize / exceptionSize
)

// leastCow is the least that anything can be written to: header, exceptions,
// one chunk of data.
const leastCow = 3 * chunkSize

// CowBytes returns the size of a sparse copy-on-write file that can never fill,
// for a base of that many bytes: a chunk for each of the base's, and the
// exceptions; one area more than are full, as the next is cleared when one gets
// full (persistent_commit_exception). It is rounded up to a whole MiB after
// adding one: holes cost nothing.
func CowBytes(base int64) int64 {
	const round = 1 << 20
	base = max(base, 0)
	if base > math.MaxInt64/2 {
		return math.MaxInt64 &^ (round - 1) // more than any file system holds (EFBIG)
	}
	data := (base + chunkSize - 1) / chunkSize
	areas := data/exceptionsPerArea + 2
	return ((1+data+areas)*chunkSize + 2*round - 1) &^ (round - 1)
}

// revive makes a snapshot that the kernel declared invalid usable again. It
// does so when it cannot write to the file, as on a full disk, for fear that
// the base changed and the old content was not saved. Our bases never change:
// all that is in the file stays true, and what could not be written, the guest
// was told of. "There is no way of recovering" (dm-snap-persistent.c) is so for
// bases that are written.
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

// cowHeader is the beginning of a copy-on-write file; all is zero in a new one.
type cowHeader struct{ magic, valid, version, chunkSectors uint32 }

const (
	cowMagic   = 0x70416e53 // "SnAp"
	cowVersion = 1
	atValid    = 4
)

func (h cowHeader) isNew() bool { return h == cowHeader{} }

// readHeader reads the header of a copy-on-write file, which its owner can write, and
// refuses what is neither a new file's nor exactly as this package has the kernel make
// one. The kernel obeys a header: of chunks that are larger than the table says it
// allocates three (read_header and alloc_area in dm-snap-persistent.c), up to 1 GiB each.
func readHeader(cow *os.File) (h cowHeader, err error) {
	var raw [16]byte
	if _, err := cow.ReadAt(raw[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return h, err
	}
	for n, field := range []*uint32{&h.magic, &h.valid, &h.version, &h.chunkSectors} {
		*field = binary.LittleEndian.Uint32(raw[4*n:])
	}
	if !h.isNew() && (h.magic != cowMagic || h.valid > 1 || h.version != cowVersion || h.chunkSectors != chunkSectors) {
		return h, api.Errorf(api.KindInvalid, "%s is not a copy-on-write file of ours: it begins with %x, valid %d, version %d, chunks of %d sectors",
			cow.Name(), h.magic, h.valid, h.version, h.chunkSectors).
			WithHint("something else wrote to the VM's disk: banger vm delete it, or put a copy of the file back")
	}
	return h, nil
}

// newCow checks that the descriptor is a copy-on-write file's.
func newCow(f *os.File, tag string) (backing, error) {
	const what = "copy-on-write file"
	b, err := newBacking(what, f, tag, unix.LO_FLAGS_AUTOCLEAR)
	if err != nil {
		return b, err
	}
	if b.size < leastCow {
		return b, api.Errorf(api.KindInvalid, "the %s has %d bytes and needs %d at least", what, b.size, leastCow)
	}
	_, err = readHeader(f)
	return b, err
}
