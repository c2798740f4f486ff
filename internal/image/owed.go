package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/execx"
	"banger/internal/ext4"
	"banger/internal/fsx"
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

// payOwed gives the files in the image's file system what list says they are owed. It
// is done by the numbers of inodes, so that no name of a file becomes a command. A name
// that is gone by now is owed nothing.
func payOwed(ctx context.Context, list, image string) error {
	pending, err := unpaid(list, image)
	if err != nil || len(pending) == 0 {
		return err
	}
	var commands bytes.Buffer
	devices := false
	for number, o := range pending {
		o.commands(&commands, number)
		devices = devices || o.Mode != 0
	}
	err = execx.Run(ctx, execx.Cmd{Name: "debugfs", Args: []string{"-w", "-f", "-", image}, Stdin: &commands, Package: "e2fsprogs"})
	if err != nil {
		return err
	}
	if devices { // the directories still say that they are fifos
		if err := repair(ctx, image); err != nil {
			return err
		}
	}
	// debugfs has no exit status for a command that fails.
	pending, err = unpaid(list, image)
	if err == nil && len(pending) > 0 {
		return api.Errorf(api.KindInternal, "cannot give %d files in the image the owners and devices that they are to have", len(pending))
	}
	return err
}

// commands are debugfs's commands (debugfs(8), set_inode_field). A device's numbers are
// where other files have their first blocks, in the old form or, where they are too
// large for that, in the new one (kdev_t.h of the kernel).
func (o owed) commands(w io.Writer, inode uint32) {
	set := func(field string, value uint32) { fmt.Fprintf(w, "set_inode_field <%d> %s %d\n", inode, field, value) }
	set("uid", o.UID)
	set("gid", o.GID)
	if o.Mode == 0 {
		return
	}
	set("mode", uint32(o.Mode))
	if o.Major < 256 && o.Minor < 256 {
		set("block[0]", o.Major<<8|o.Minor)
		set("block[1]", 0)
		return
	}
	set("block[0]", 0)
	set("block[1]", o.Minor&0xFF|o.Major<<8|o.Minor&^0xFF<<12)
}

// paid says whether an inode is as it is to be.
func (o owed) paid(i *ext4.Inode) bool {
	if i.UID != o.UID || i.GID != o.GID || o.Mode != 0 && i.Mode != o.Mode {
		return false
	}
	major, minor := i.Device()
	return o.Mode == 0 || major == o.Major && minor == o.Minor
}

// unpaid returns what inodes of the image are still owed.
func unpaid(list, image string) (map[uint32]owed, error) {
	in, err := os.Open(list)
	if err != nil {
		return nil, fsx.DiskError("read what was unpacked", err)
	}
	defer in.Close()
	f, err := os.Open(image)
	if err != nil {
		return nil, fsx.DiskError("read the file system", err)
	}
	defer f.Close()
	fs, err := openExt4(f)
	if err != nil {
		return nil, err
	}
	search, pending := finder{fs: fs}, map[uint32]owed{}
	for each := json.NewDecoder(bufio.NewReader(in)); ; {
		var o owed
		if err := each.Decode(&o); errors.Is(err, io.EOF) {
			return pending, nil
		} else if err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot read what was unpacked: %w", err)
		}
		i, err := search.find(string(o.Name))
		switch {
		case err != nil:
			return nil, err
		case i == nil || o.paid(i):
		case o.Mode != 0 && !i.Is(unix.S_IFIFO) && i.Mode != o.Mode:
			return nil, api.Errorf(api.KindInternal, "cannot make %.200q a device: it is something else", o.Name)
		default:
			pending[i.Number] = o
		}
	}
}

// finder finds files by their names. It holds the directories on the way to the last
// one: in order, names cost a look at each directory.
type finder struct {
	fs  *ext4.FS
	way []held
}

type held struct {
	number  uint32
	entries []ext4.Entry
}

// find returns the inode that has a name, nil where none has.
func (f *finder) find(name string) (*ext4.Inode, error) {
	number := uint32(ext4.Root)
	for depth, part := range strings.Split(name, "/") {
		if depth >= len(f.way) || f.way[depth].number != number {
			f.way = f.way[:depth]
			i, err := f.fs.Inode(number)
			if err != nil {
				return nil, err
			}
			if !i.Is(unix.S_IFDIR) {
				return nil, nil
			}
			entries, err := i.Entries(func(ext4.Entry) error { return nil })
			if err != nil {
				return nil, err
			}
			f.way = append(f.way, held{number, entries})
		}
		entries := f.way[depth].entries
		at, ok := slices.BinarySearchFunc(entries, part, func(e ext4.Entry, name string) int { return strings.Compare(e.Name, name) })
		if !ok {
			return nil, nil
		}
		number = entries[at].Inode
	}
	return f.fs.Inode(number)
}
