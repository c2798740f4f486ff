package fill

import "bytes"

const (
	extentMagic  = 0xF30A
	extentBytes  = 12
	extentInline = 4
	extentPer    = (BlockSize - extentBytes - 4) / extentBytes // in a block, between the header and the checksum
	extentMost   = 32768                                       // blocks of one extent
)

// extent is a range of a file's blocks.
type extent struct {
	logical uint32
	run
}

// tree collects the extents of a file.
type tree struct {
	w    *Writer
	i    *inode
	all  []extent
	zero [BlockSize]byte
}

// write writes whole blocks, starting at a block of the file, and skips blocks of
// zeros.
func (t *tree) write(logical uint32, p []byte) error {
	for at := 0; at < len(p); {
		end := at
		for end < len(p) && !bytes.Equal(p[end:end+BlockSize], t.zero[:]) {
			end += BlockSize
		}
		if end == at {
			at += BlockSize
			continue
		}
		for at < end {
			r, err := t.w.alloc(uint64(end-at) / BlockSize)
			if err != nil {
				return err
			}
			n := int(r.count) * BlockSize
			if _, err := t.w.f.WriteAt(p[at:at+n], int64(r.start)*BlockSize); err != nil {
				return err
			}
			t.add(logical+uint32(at/BlockSize), r)
			at += n
		}
	}
	return nil
}

// add records a range of blocks.
func (t *tree) add(logical uint32, r run) {
	t.i.blocks += r.count
	if n := len(t.all); n > 0 {
		last := &t.all[n-1]
		if uint64(last.logical)+last.count == uint64(logical) && last.start+last.count == r.start && last.count+r.count <= extentMost {
			last.count += r.count
			return
		}
	}
	t.all = append(t.all, extent{logical, r})
}

// end writes the tree and the inode.
func (t *tree) end() (int, error) {
	entries := make([][]byte, len(t.all))
	for n, e := range t.all {
		b := make([]byte, extentBytes)
		le.PutUint32(b, e.logical)
		le.PutUint16(b[4:], uint16(e.count))
		le.PutUint16(b[6:], uint16(e.start>>32))
		le.PutUint32(b[8:], uint32(e.start))
		entries[n] = b
	}
	depth := uint16(0)
	for ; len(entries) > extentInline; depth++ {
		var err error
		if entries, err = t.level(entries, depth); err != nil {
			return 0, err
		}
	}
	pack(t.i.block[:], entries, extentInline, depth)
	return t.w.put(t.i)
}

// level writes entries to blocks, and returns the entries that point to these.
func (t *tree) level(entries [][]byte, depth uint16) ([][]byte, error) {
	var above [][]byte
	for len(entries) > 0 {
		n := min(len(entries), extentPer)
		r, err := t.w.alloc(1)
		if err != nil {
			return nil, err
		}
		t.i.blocks++
		b := make([]byte, BlockSize)
		pack(b, entries[:n], extentPer, depth)
		le.PutUint32(b[BlockSize-4:], crc(t.w.seedOf(t.i.number), b[:BlockSize-4]))
		if _, err := t.w.f.WriteAt(b, int64(r.start)*BlockSize); err != nil {
			return nil, err
		}
		e := make([]byte, extentBytes)
		copy(e, entries[0][:4]) // the first block of the file in it
		le.PutUint32(e[4:], uint32(r.start))
		le.PutUint16(e[8:], uint16(r.start>>32))
		above = append(above, e)
		entries = entries[n:]
	}
	return above, nil
}

// pack encodes a header and entries.
func pack(b []byte, entries [][]byte, most int, depth uint16) {
	le.PutUint16(b, extentMagic)
	le.PutUint16(b[2:], uint16(len(entries)))
	le.PutUint16(b[4:], uint16(most))
	le.PutUint16(b[6:], depth)
	for n, e := range entries {
		copy(b[extentBytes*(n+1):], e)
	}
}
