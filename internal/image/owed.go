package image

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"path/filepath"
	"slices"
)

// owedBeside is the file by which the job that unpacks a tree tells the one that packs
// it what is owed.
func owedBeside(root string) string { return filepath.Join(filepath.Dir(root), "owed") }

// mostOwed bounds the memory for what is owed.
const mostOwed = 32 << 20

// owed is what a file of the tree is to be in the image, and cannot be in the tree
// without root: a device, which is a fifo there, or somebody's whose id is beyond
// those that may be used.
type owed struct {
	Name []byte `json:"name"` // in the list alone; names need not be UTF-8
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode uint16 `json:"mode,omitempty"` // of a device, with its type; 0 is no device
	// Major and Minor are the device's numbers.
	Major uint32 `json:"major,omitempty"`
	Minor uint32 `json:"minor,omitempty"`
}

// debts are what is owed, by names.
type debts struct {
	byName map[string]owed
	held   int // bytes
}

// add notes what a file is owed, and says whether there is room to remember it and
// whether it can be.
func (d *debts) add(h *tar.Header, device uint16) bool {
	size := len(h.Name) + nameCost
	if d.held+size > mostOwed || !possible(h) || !numbered(h) {
		return false
	}
	o := owed{UID: uint32(h.Uid), GID: uint32(h.Gid)}
	if device != 0 {
		o.Mode, o.Major, o.Minor = device|uint16(h.Mode&0o7777), uint32(h.Devmajor), uint32(h.Devminor)
	}
	if d.byName == nil {
		d.byName = map[string]owed{}
	}
	d.held += size
	d.byName[h.Name] = o
	return true
}

// possible says whether files can have the owner that an entry names.
func possible(h *tar.Header) bool {
	const largest = 1<<32 - 2 // the next one means none (chown(2))
	return h.Uid >= 0 && h.Gid >= 0 && int64(h.Uid) <= largest && int64(h.Gid) <= largest
}

// numbered says whether an entry's device numbers, if it is one of a device, are
// ones that Linux has (MINORBITS of the kernel's kdev_t.h). mknod(2) does not
// refuse larger ones: it makes another device of them.
func numbered(h *tar.Header) bool {
	device := h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock
	return !device || h.Devmajor>>12 == 0 && h.Devminor>>20 == 0
}

// link notes that a file has another name.
func (d *debts) link(name, target string) {
	if o, ok := d.byName[target]; ok && d.held+len(name)+nameCost <= mostOwed {
		d.held += len(name) + nameCost
		d.byName[name] = o
	}
}

func (d *debts) has(name string) bool {
	_, ok := d.byName[name]
	return ok
}

// forget is for a name that is made anew.
func (d *debts) forget(name string) {
	if d.has(name) {
		d.held -= len(name) + nameCost
		delete(d.byName, name)
	}
}

// write writes them to w, in the order of their names.
func (d *debts) write(w io.Writer) error {
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
