package migration

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// devices stand for the sections of the devices, which nobody here looks into.
var devices = append([]byte{sectionFull}, []byte("timer, virtio, and what else there is\x00\x06")...)

// generator makes a stream, and the state stream that Split is to make of it.
type generator struct {
	stream, state []byte
	ram, rom      []byte
	sent          map[int64]bool // pages of the memory that had content
	last          string
}

func newGenerator(size int64) *generator {
	return &generator{ram: make([]byte, size), rom: make([]byte, 4*PageBytes), sent: map[int64]bool{}}
}

func (g *generator) put(b ...byte) {
	g.stream, g.state = append(g.stream, b...), append(g.state, b...)
}
func (g *generator) put32(v uint32)   { g.put(binary.BigEndian.AppendUint32(nil, v)...) }
func (g *generator) put64(v uint64)   { g.put(binary.BigEndian.AppendUint64(nil, v)...) }
func (g *generator) name(name string) { g.put(append([]byte{byte(len(name))}, name...)...) }

// begin writes all before the first page.
func (g *generator) begin() {
	g.put32(streamMagic)
	g.put32(streamVersion)
	g.put(configuration)
	g.put32(7)
	g.put([]byte("microvm")...)
	g.put(sectionStart)
	g.put32(2)
	g.name("ram")
	g.put32(0)
	g.put32(ramVersion)
	g.put64(uint64(len(g.ram)+len(g.rom)) | flagSizes)
	g.name(MemoryBlock)
	g.put64(uint64(len(g.ram)))
	g.name(firmwareBlock)
	g.put64(uint64(len(g.rom)))
}

// footer ends a section of the memory.
func (g *generator) footer() {
	g.put64(flagEnd)
	g.put(sectionFooter)
	g.put32(2)
}

// finish writes the last section of the memory.
func (g *generator) finish() {
	g.footer()
	g.put(sectionEnd)
	g.put32(2)
	g.footer()
}

// end writes all after the last page.
func (g *generator) end() {
	g.finish()
	g.put(devices...)
}

// page sends a page: with its name only if the record before was another block's, as QEMU does.
func (g *generator) page(block string, at int64, content []byte) {
	word := uint64(at) | flagPage
	if content == nil {
		word = uint64(at) | flagZero
	}
	same := g.last == block
	if same {
		word |= flagContinue
	}
	record := binary.BigEndian.AppendUint64(nil, word)
	if !same {
		record = append(append(record, byte(len(block))), block...)
	}
	g.last = block
	if content == nil {
		record = append(record, 0)
	}
	record = append(record, content...)
	g.stream = append(g.stream, record...)
	to := g.rom
	if block == MemoryBlock {
		to = g.ram
	} else {
		g.state = append(g.state, record...)
	}
	if at < 0 || at >= int64(len(to)) {
		return // to be refused
	}
	if content == nil {
		clear(to[at : at+PageBytes])
		return
	}
	copy(to[at:], content)
	if block == MemoryBlock {
		g.sent[at] = true
	}
}

// random makes a stream of pages in any order: zeros, content, again, and other blocks between them.
func random(seed uint64, pages int64) *generator {
	r := rand.New(rand.NewPCG(seed, 1))
	g := newGenerator(pages * PageBytes)
	g.begin()
	at := int64(0)
	for range 2 * pages {
		if at += PageBytes; r.IntN(4) == 0 || at == pages*PageBytes {
			at = r.Int64N(pages) * PageBytes
		}
		var content []byte
		if r.IntN(3) > 0 {
			content = bytes.Repeat([]byte{byte(1 + r.IntN(255))}, PageBytes)
		}
		if r.IntN(8) == 0 {
			g.page(firmwareBlock, r.Int64N(4)*PageBytes, content)
			continue
		}
		g.page(MemoryBlock, at, content)
		switch r.IntN(16) {
		case 0:
			g.footer()
			g.put(sectionPart)
			g.put32(2)
		case 1:
			g.footer()
			g.put(command, 0, 7, 0, 0)
			g.put(sectionPart)
			g.put32(2)
		}
	}
	g.end()
	return g
}
