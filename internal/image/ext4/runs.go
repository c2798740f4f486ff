package ext4

// run is a range of consecutive blocks of a file: count of them, from logical on within
// the file, and from physical on in the file system.
type run struct {
	logical, physical, count uint64
}

// runner finds the blocks of an inode, in order. Blocks in no run are a hole.
type runner struct {
	fs    *FS
	end   uint64 // the first logical block beyond the requested ones
	do    func(run) error
	next  uint64 // the first logical block that may follow
	held  run    // not passed on yet: the next run may continue it
	begun bool   // held is set
}

// eachRun calls do with the runs below the block end.
func (i *Inode) eachRun(end uint64, do func(run) error) error {
	r := &runner{fs: i.fs, end: end, do: do}
	root := i.raw[atBlocks:endBlock]
	var err error
	if i.flags&flagExtents != 0 {
		depth := le.Uint16(root[6:])
		if depth > maxDepth {
			return damaged("a tree of extents is %d deep", depth)
		}
		err = r.extents(root, depth)
	} else {
		err = r.pointers(root)
	}
	if err == nil && r.begun {
		err = do(r.held)
	}
	return err
}

// emit passes a run on, joined with the one that it continues.
func (r *runner) emit(n run) error {
	if err := r.fs.inside(n.physical, n.count); err != nil {
		return err
	}
	h := &r.held
	if r.begun && h.logical+h.count == n.logical && h.physical+h.count == n.physical {
		h.count += n.count
		return nil
	}
	if r.begun {
		if err := r.do(*h); err != nil {
			return err
		}
	}
	r.held, r.begun = n, true
	return nil
}

const (
	extentMagic = 0xF30A
	extentBytes = 12 // of a node's head, of an extent and of an index
	maxDepth    = 5  // EXT4_MAX_EXTENT_DEPTH of the kernel's ext4.h
	unwritten   = 1 << 15
)

// extents walks a node of the tree and everything below it. Extents are ordered and no
// node below the root is empty, so the walk ends, whatever the nodes point to.
func (r *runner) extents(node []byte, depth uint16) error {
	count := int(le.Uint16(node[2:]))
	if le.Uint16(node) != extentMagic || le.Uint16(node[6:]) != depth || (count+1)*extentBytes > len(node) {
		return damaged("a node of a tree of extents has no valid header")
	}
	for n := 1; n <= count && r.next < r.end; n++ {
		entry := node[n*extentBytes : (n+1)*extentBytes]
		var err error
		if depth == 0 {
			err = r.extent(entry)
		} else {
			err = r.child(entry, depth-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) child(index []byte, depth uint16) error {
	child, err := r.fs.readBlock(uint64(le.Uint32(index[4:])) | uint64(le.Uint16(index[8:]))<<32)
	if err != nil {
		return err
	}
	if le.Uint16(child[2:]) == 0 {
		return damaged("a node of a tree of extents is empty")
	}
	return r.extents(child, depth)
}

// extent passes on one extent. Blocks that were allocated and never written read as
// zeros.
func (r *runner) extent(e []byte) error {
	start, count := uint64(le.Uint32(e)), uint64(le.Uint16(e[4:]))
	written := count <= unwritten
	if !written {
		count -= unwritten
	}
	if start < r.next || count == 0 {
		return damaged("its extents are not in order")
	}
	r.next = start + count
	if !written || start >= r.end {
		return nil
	}
	physical := uint64(le.Uint32(e[8:])) | uint64(le.Uint16(e[6:]))<<32
	return r.emit(run{start, physical, min(count, r.end-start)})
}

// pointers walks the twelve pointers to blocks and the three to blocks of pointers, and
// so on, as in ext2.
func (r *runner) pointers(root []byte) error {
	const direct = 12
	if err := r.level(root[:direct*4], 0); err != nil {
		return err
	}
	for level := 1; level <= 3; level++ {
		at := (direct + level - 1) * 4
		if err := r.level(root[at:at+4], level); err != nil {
			return err
		}
	}
	return nil
}

// level walks a block of pointers that is level levels above blocks.
func (r *runner) level(pointers []byte, level int) error {
	span := uint64(1) // blocks below one pointer
	for range level {
		span *= uint64(r.fs.block) / 4
	}
	for ; len(pointers) >= 4 && r.next < r.end; pointers = pointers[4:] {
		block := uint64(le.Uint32(pointers))
		switch {
		case block == 0:
			r.next += span
		case level == 0:
			if err := r.emit(run{r.next, block, 1}); err != nil {
				return err
			}
			r.next++
		default:
			below, err := r.fs.readBlock(block)
			if err != nil {
				return err
			}
			if err := r.level(below, level-1); err != nil {
				return err
			}
		}
	}
	return nil
}
