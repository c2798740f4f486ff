package blockdev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// The layout of struct dm_ioctl (include/uapi/linux/dm-ioctl.h), the header of every
// request and answer. Numbers are in the host's byte order.
const (
	atVersion     = 0  // 3 times 4 bytes
	atDataSize    = 12 // of the whole message
	atDataStart   = 16 // offset of the data after this structure
	atTargetCount = 20
	atOpenCount   = 24
	atFlags       = 28
	atEvent       = 32 // in requests of resume and remove: flags for udev
	atDev         = 40 // 8 bytes
	atName        = 48
	headerSize    = unix.SizeofDmIoctl
)

// The layout of struct dm_target_spec; a string of parameters follows it.
const (
	atTargetStart  = 0 // 8 bytes, in sectors
	atTargetLength = 8 // 8 bytes, in sectors
	atTargetNext   = 20
	atTargetType   = 24
	targetSize     = unix.SizeofDmTargetSpec
)

// The requested version of the interface: major numbers must be equal, and the kernel's
// minor number must not be lower (check_version in drivers/md/dm-ioctl.c). Version 4.0
// has everything that is used here.
const interfaceMajor = 4

var order = binary.NativeEndian

// request is one message to the device-mapper.
type request struct {
	name    string
	flags   uint32
	event   uint32
	targets uint32
	data    []byte // the data after the header
	room    int    // size of the data after the header in the answer
}

// encode returns the message, which the kernel overwrites with its answer.
func (r request) encode() ([]byte, error) {
	if len(r.name) >= unix.DM_NAME_LEN || strings.ContainsRune(r.name, 0) {
		return nil, fmt.Errorf("%q is not a valid name of a device: %w", r.name, unix.EINVAL)
	}
	b := make([]byte, headerSize+max(len(r.data), r.room))
	order.PutUint32(b[atVersion:], interfaceMajor)
	order.PutUint32(b[atDataSize:], uint32(len(b)))
	order.PutUint32(b[atDataStart:], headerSize)
	order.PutUint32(b[atTargetCount:], r.targets)
	order.PutUint32(b[atFlags:], r.flags)
	order.PutUint32(b[atEvent:], r.event)
	copy(b[atName:], r.name)
	copy(b[headerSize:], r.data)
	return b, nil
}

// answer is the kernel's answer to a request.
type answer struct {
	flags   uint32
	open    int32 // how often the device is open
	targets uint32
	dev     uint64 // in the format of unix.Major and unix.Minor
	data    []byte
}

// has reports whether a flag is set.
func (a answer) has(flag uint32) bool { return a.flags&flag != 0 }

// device returns the device that the answer describes.
func (a answer) device() Device {
	d := Device{Major: unix.Major(a.dev), Minor: unix.Minor(a.dev)}
	d.Name = fmt.Sprintf("dm-%d", d.Minor) // alloc_dev in drivers/md/dm.c
	return d
}

// decode decodes an answer in the buffer of its request.
func decode(b []byte) (answer, error) {
	if len(b) < headerSize {
		return answer{}, fmt.Errorf("the device-mapper's answer has %d bytes", len(b))
	}
	a := answer{
		flags:   order.Uint32(b[atFlags:]),
		open:    int32(order.Uint32(b[atOpenCount:])),
		targets: order.Uint32(b[atTargetCount:]),
		dev:     order.Uint64(b[atDev:]),
	}
	start, end := uint64(order.Uint32(b[atDataStart:])), uint64(order.Uint32(b[atDataSize:]))
	if a.has(unix.DM_BUFFER_FULL_FLAG) || end <= start {
		return a, nil // without data
	}
	if start < headerSize || end > uint64(len(b)) {
		return answer{}, fmt.Errorf("the device-mapper's answer claims to have bytes %d to %d of %d", start, end, len(b))
	}
	a.data = b[start:end]
	return a, nil
}

// target is one line of a device's table, or of its status.
type target struct {
	start, length uint64 // in sectors
	kind          string
	params        string
}

// encode returns the line in the format of DM_TABLE_LOAD.
func (t target) encode() []byte {
	size := (targetSize + len(t.params) + 1 + 7) &^ 7
	b := make([]byte, size)
	order.PutUint64(b[atTargetStart:], t.start)
	order.PutUint64(b[atTargetLength:], t.length)
	order.PutUint32(b[atTargetNext:], uint32(size))
	copy(b[atTargetType:atTargetType+unix.DM_MAX_TYPE_NAME-1], t.kind)
	copy(b[targetSize:], t.params)
	return b
}

// decodeTarget decodes the first line of the answer to DM_TABLE_STATUS.
func decodeTarget(data []byte) (target, error) {
	if len(data) < targetSize {
		return target{}, fmt.Errorf("the table's line has %d bytes", len(data))
	}
	return target{
		start:  order.Uint64(data[atTargetStart:]),
		length: order.Uint64(data[atTargetLength:]),
		kind:   text(data[atTargetType:targetSize]),
		params: text(data[targetSize:]),
	}, nil
}

// decodeNames decodes the answer to DM_LIST_DEVICES: records of struct dm_name_list,
// each with the offset of the next from its own start, or 0.
func decodeNames(data []byte) ([]string, error) {
	const atNext, atText = 8, 12
	var names []string
	for len(data) > 0 {
		if len(data) < atText {
			return nil, fmt.Errorf("the list of devices ends in a record of %d bytes", len(data))
		}
		if order.Uint64(data) == 0 { // "flags no data", says list_devices
			break
		}
		next := uint64(order.Uint32(data[atNext:]))
		if next == 0 {
			return append(names, text(data[atText:])), nil
		}
		if next < atText || next > uint64(len(data)) {
			return nil, fmt.Errorf("a record of the list of devices has %d bytes of %d", next, len(data))
		}
		names = append(names, text(data[atText:next]))
		data = data[next:]
	}
	return names, nil
}

// text returns the string before the first zero byte, or all of b.
func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
