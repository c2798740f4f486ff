package blockdev

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

// Usage is the use of a snapshot's copy-on-write file, in sectors of 512 bytes. All
// fields are 0 if the kernel does not report it.
type Usage struct {
	Used     uint64 // data and metadata
	Total    uint64 // the file's size
	Metadata uint64

	// Invalid: the host could not write to the file, as on a full disk. All reads and
	// writes of the VM fail. Overflow: the file is full. The VM's writes fail. In both
	// cases, detaching, freeing space and attaching again makes everything that was
	// written available.
	Invalid, Overflow bool
}

// parseUsage parses the parameters of a snapshot's status line: snapshot_status in
// drivers/md/dm-snap.c.
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
				return Usage{}, fmt.Errorf("%q is not a valid status of a snapshot: %w", params, err)
			}
			*n = v
		}
		return u, nil
	}
	return Usage{}, fmt.Errorf("%q is not a valid status of a snapshot", params)
}

// Status returns how full the VM's copy-on-write file is. It returns an error of kind
// api.KindNotFound if the VM has no attached snapshot.
func Status(id string) (Usage, error) {
	u, err := status(id)
	if err != nil {
		return Usage{}, failure("read the status of", id, err)
	}
	return u, nil
}

func status(id string) (Usage, error) {
	if !vmid.Valid(id) {
		return Usage{}, api.Errorf(api.KindInvalid, "%q is not a valid VM id", id)
	}
	m, err := openMapper()
	if err != nil {
		return Usage{}, err
	}
	defer m.close()
	a, err := m.status(vmid.Device(id))
	if errors.Is(err, unix.ENXIO) || err == nil && !a.has(unix.DM_ACTIVE_PRESENT_FLAG) {
		return Usage{}, api.Errorf(api.KindNotFound, "no snapshot is attached")
	}
	if err != nil {
		return Usage{}, err
	}
	line, err := m.line(vmid.Device(id), 0)
	if err != nil {
		return Usage{}, err
	}
	return parseUsage(line.params)
}
