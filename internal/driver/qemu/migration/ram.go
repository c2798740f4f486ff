package migration

import (
	"encoding/binary"
	"io"
)

// The flags of a record of memory, in the low bits of its page's offset (migration/ram.c).
// Compressed pages, multifd and RDMA have others, and are not used.
const (
	flagZero     = 0x02
	flagSizes    = 0x04
	flagPage     = 0x08
	flagEnd      = 0x10
	flagContinue = 0x20 // of the same block as the record before
	flagsMask    = PageBytes - 1
)

const (
	maxBlocks     = 64
	maxBlockBytes = 16 << 20 // of a block that is not the memory: ROMs have at most 256 KiB, tables less
	// maxSent is how often a page may come. A machine that stands still sends each page once or twice.
	maxSent = 4
)

// start reads the first section of the memory: the names and sizes of its blocks.
func (s *splitter) start() error {
	if s.blocks != nil {
		return malformed("a second section starts before the end of the memory")
	}
	section, err := s.copy32()
	if err != nil {
		return err
	}
	s.section = section
	name, err := s.copyName()
	if err != nil {
		return err
	}
	if name != "ram" {
		return malformed("a section %.40q before the end of the memory", name)
	}
	if err := s.expect32("instance of the memory's section", 0); err != nil {
		return err
	}
	if err := s.expect32("version of the memory's section", ramVersion); err != nil {
		return err
	}
	if err := s.sizes(); err != nil {
		return err
	}
	if err := s.pagesUntilEnd(); err != nil {
		return err
	}
	return s.footer()
}

func (s *splitter) sizes() error {
	head, err := s.copy64()
	if err != nil {
		return err
	}
	if head&flagsMask != flagSizes {
		return malformed("flags %#x where the sizes of memory are expected", head&flagsMask)
	}
	total := int64(head &^ flagsMask)
	s.blocks = map[string]int64{}
	for total > 0 {
		name, err := s.copyName()
		if err != nil {
			return err
		}
		length, err := s.copy64()
		if err != nil {
			return err
		}
		_, again := s.blocks[name]
		most := uint64(maxBlockBytes)
		if name == MemoryBlock {
			most = uint64(s.memory.bytes)
		}
		if again || len(s.blocks) == maxBlocks || length == 0 || length > most || length > uint64(total) {
			return malformed("a block %.40q of %d bytes", name, length)
		}
		s.blocks[name] = int64(length)
		total -= int64(length)
	}
	if got := s.blocks[MemoryBlock]; got != s.memory.bytes {
		return malformed("a memory of %d bytes, not %d", got, s.memory.bytes)
	}
	return nil
}

// part reads another section of the memory.
func (s *splitter) part() error {
	if s.blocks == nil {
		return malformed("the memory has no beginning")
	}
	if err := s.expect32("section's number", s.section); err != nil {
		return err
	}
	if err := s.pagesUntilEnd(); err != nil {
		return err
	}
	return s.footer()
}

// pagesUntilEnd reads records until one that ends a section. Those of the memory are not copied:
// a record of another block follows one of the same block in the state stream, too, if it says so.
func (s *splitter) pagesUntilEnd() error {
	for {
		var head [8]byte
		if _, err := io.ReadFull(s.in, head[:]); err != nil {
			return err
		}
		word := binary.BigEndian.Uint64(head[:])
		flags, offset := word&flagsMask, word&^flagsMask
		if flags == flagEnd {
			_, err := s.out.Write(head[:])
			return err
		}
		if kind := flags &^ flagContinue; kind != flagZero && kind != flagPage {
			return malformed("a record of memory with the flags %#x", flags)
		}
		var name []byte
		if flags&flagContinue == 0 {
			var err error
			if name, err = s.name(); err != nil {
				return err
			}
			s.last = string(name[1:])
		}
		length, known := s.blocks[s.last]
		if !known || offset >= uint64(length) || uint64(length)-offset < PageBytes {
			return malformed("a page at %#x of block %.40q, which has %d bytes", offset, s.last, length)
		}
		if err := s.page(head[:], name, int64(offset), flags&flagZero != 0); err != nil {
			return err
		}
	}
}

// page reads the rest of a record. name is its name as the stream has it.
func (s *splitter) page(head, name []byte, at int64, zero bool) error {
	if s.last == MemoryBlock {
		if s.records++; s.records > maxSent*(s.memory.bytes/PageBytes) {
			return malformed("more than %d records a page", maxSent)
		}
		if !zero {
			return s.memory.read(s.in, at)
		}
		if err := s.zeroByte(); err != nil {
			return err
		}
		return s.memory.zero(at)
	}
	if _, err := s.out.Write(head); err != nil {
		return err
	}
	if _, err := s.out.Write(name); err != nil {
		return err
	}
	if zero {
		if err := s.zeroByte(); err != nil {
			return err
		}
		return s.out.WriteByte(0)
	}
	_, err := s.copyBytes(PageBytes)
	return err
}

// zeroByte reads what a page is filled with: QEMU fills with nothing else than zeros.
func (s *splitter) zeroByte() error {
	b, err := s.in.ReadByte()
	if err == nil && b != 0 {
		err = malformed("a page filled with %#x", b)
	}
	return err
}
