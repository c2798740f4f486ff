package rootfs

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"path/filepath"
	"slices"
)

// deferredFile returns the path of the list by which the job that unpacks a tree passes
// the deferred attributes to the job that packs it.
func deferredFile(root string) string { return filepath.Join(filepath.Dir(root), "deferred") }

const (
	// maxDeferredBytes bounds the memory for deferred attributes.
	maxDeferredBytes = 32 << 20
	// nameCost is the approximate cost of a name in bytes, besides its own length.
	nameCost = 64
)

// deferredAttrs are attributes that a file has in the image, but cannot have in the
// tree without root: a device, which is a fifo in the tree, or an owner beyond the ids
// that may be used.
type deferredAttrs struct {
	Name []byte `json:"name"` // only in the list; names need not be UTF-8
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode uint16 `json:"mode,omitempty"` // mode and type of a device; 0 if it is not a device
	// Major and Minor are the numbers of the device.
	Major uint32 `json:"major,omitempty"`
	Minor uint32 `json:"minor,omitempty"`
}

// pendingAttrs are the deferred attributes of a tree, by file name.
type pendingAttrs struct {
	byName map[string]deferredAttrs
	held   int // bytes
}

// add defers the attributes of a file. It returns false without room to remember
// them, or if they are not valid.
func (d *pendingAttrs) add(h *tar.Header, device uint16) bool {
	size := len(h.Name) + nameCost
	if d.held+size > maxDeferredBytes || !validOwner(h) || !validDevice(h) {
		return false
	}
	o := deferredAttrs{UID: uint32(h.Uid), GID: uint32(h.Gid)}
	if device != 0 {
		o.Mode, o.Major, o.Minor = device|uint16(h.Mode&0o7777), uint32(h.Devmajor), uint32(h.Devminor)
	}
	if d.byName == nil {
		d.byName = map[string]deferredAttrs{}
	}
	d.held += size
	d.byName[h.Name] = o
	return true
}

// validOwner reports whether a file can have the owner that an entry names.
func validOwner(h *tar.Header) bool {
	const largest = 1<<32 - 2 // the next one means "unchanged" (chown(2))
	return h.Uid >= 0 && h.Gid >= 0 && int64(h.Uid) <= largest && int64(h.Gid) <= largest
}

// validDevice reports whether the device numbers of an entry, if it is a device, are
// valid in Linux (MINORBITS in the kernel's kdev_t.h). mknod(2) does not refuse larger
// ones: it creates a different device.
func validDevice(h *tar.Header) bool {
	device := h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock
	return !device || h.Devmajor>>12 == 0 && h.Devminor>>20 == 0
}

// link records that a file has another name.
func (d *pendingAttrs) link(name, target string) {
	if o, ok := d.byName[target]; ok && d.held+len(name)+nameCost <= maxDeferredBytes {
		d.held += len(name) + nameCost
		d.byName[name] = o
	}
}

func (d *pendingAttrs) has(name string) bool {
	_, ok := d.byName[name]
	return ok
}

// forget removes a name that is created again.
func (d *pendingAttrs) forget(name string) {
	if d.has(name) {
		d.held -= len(name) + nameCost
		delete(d.byName, name)
	}
}

// write writes the attributes to w, sorted by name.
func (d *pendingAttrs) write(w io.Writer) error {
	b := bufio.NewWriter(w)
	list := json.NewEncoder(b)
	for _, name := range slices.Sorted(maps.Keys(d.byName)) {
		o := d.byName[name]
		o.Name = []byte(name)
		if err := list.Encode(o); err != nil {
			return err
		}
	}
	return b.Flush()
}
