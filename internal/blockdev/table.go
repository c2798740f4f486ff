package blockdev

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// table is what a snapshot is over: maj:min of two devices.
type table struct{ base, cow string }

// persistent is the kind of exception store: it survives detaching (P), and
// when the copy-on-write file is full the VM's writes fail while all that it
// wrote stays readable (O, "Overflow" in snapshot.rst; without it the snapshot
// would become invalid).
const persistent = "PO"

// params returns the parameters that snapshot.rst describes.
func (t table) params() string {
	return fmt.Sprintf("%s %s %s %d", t.base, t.cow, persistent, chunkSectors)
}

var devicePattern = regexp.MustCompile(`^[0-9]{1,8}:[0-9]{1,8}$`)

// parseTable reads a table's line, of a snapshot of any kind.
func parseTable(line target) (table, error) {
	fields := strings.Fields(line.params)
	if line.kind != snapshotTarget || line.start != 0 || len(fields) < 4 {
		return table{}, fmt.Errorf("the device is no snapshot: %d %d %s %q", line.start, line.length, line.kind, line.params)
	}
	for _, f := range fields[:2] {
		if !devicePattern.MatchString(f) {
			return table{}, fmt.Errorf("the snapshot is over %q, which is no device number", f)
		}
	}
	return table{base: fields[0], cow: fields[1]}, nil
}

// Usage says how full a snapshot's copy-on-write file is, in sectors of 512
// bytes. All is 0 where the kernel does not say.
type Usage struct {
	Used     uint64 // data and metadata
	Total    uint64 // the file's size
	Metadata uint64
	Invalid  bool // the host could not write to the file: all reads and writes of the VM fail
	Overflow bool // the file is full: the VM's writes fail
}

// parseUsage reads the parameters of a snapshot's status line: snapshot_status
// in drivers/md/dm-snap.c.
func parseUsage(params string) (Usage, error) {
	switch params {
	case "Invalid", "Merge failed":
		return Usage{Invalid: true}, nil
	case "Overflow":
		return Usage{Overflow: true}, nil
	case "Unknown":
		return Usage{}, nil
	}
	fields := strings.FieldsFunc(params, func(r rune) bool { return r == ' ' || r == '/' })
	if len(fields) == 3 && params == fields[0]+"/"+fields[1]+" "+fields[2] {
		var u Usage
		for i, n := range []*uint64{&u.Used, &u.Total, &u.Metadata} {
			v, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				return Usage{}, fmt.Errorf("%q is no status of a snapshot: %w", params, err)
			}
			*n = v
		}
		return u, nil
	}
	return Usage{}, fmt.Errorf("%q is no status of a snapshot", params)
}
