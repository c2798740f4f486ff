package blockdev

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"banger/api"
)

// table describes a snapshot: maj:min of its two devices. A table read from the kernel
// contains the size of chunks in use, in sectors.
type table struct {
	base, cow string
	chunk     uint64
}

// persistent is the kind of exception store: it survives detaching (P), and if the
// copy-on-write file is full, the VM's writes fail while everything written stays
// readable (O, "Overflow" in snapshot.rst; without it the snapshot would become
// invalid).
const persistent = "PO"

// params returns the parameters in the format of snapshot.rst.
func (t table) params() string {
	return fmt.Sprintf("%s %s %s %d", t.base, t.cow, persistent, chunkSectors)
}

var devicePattern = regexp.MustCompile(`^[0-9]{1,8}:[0-9]{1,8}$`)

// parseTable parses a table's line, of a snapshot of any kind.
func parseTable(line target) (table, error) {
	fields := strings.Fields(line.params)
	if line.kind != snapshotTarget || line.start != 0 || len(fields) < 4 {
		return table{}, fmt.Errorf("the device is not a snapshot: %d %d %s %q", line.start, line.length, line.kind, line.params)
	}
	for _, f := range fields[:2] {
		if !devicePattern.MatchString(f) {
			return table{}, fmt.Errorf("the snapshot is over %q, which is not a device number", f)
		}
	}
	chunk, err := strconv.ParseUint(fields[3], 10, 64)
	if err != nil {
		return table{}, fmt.Errorf("the snapshot has chunks of %q sectors, which is not a number", fields[3])
	}
	return table{base: fields[0], cow: fields[1], chunk: chunk}, nil
}

// checkChunk refuses a table whose chunk size differs from params: then the header of
// the copy-on-write file was different when the kernel read it.
func (t table) checkChunk() error {
	if t.chunk == chunkSectors {
		return nil
	}
	return api.Errorf(api.KindInvalid, "the copy-on-write file was changed while it was attached: the kernel read chunks of %d sectors in it, not %d",
		t.chunk, chunkSectors)
}
