package migration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// memory is a file of a fixed size. It counts the writes, and fails after limit of them.
type memory struct {
	data   []byte
	writes int
	limit  int
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if m.writes++; m.limit > 0 && m.writes > m.limit {
		return 0, syscall.ENOSPC
	}
	if at < 0 || at+int64(len(p)) > int64(len(m.data)) {
		panic("a write outside of the memory")
	}
	return copy(m.data[at:], p), nil
}

func split(stream []byte, size int64) (*memory, []byte, Result, error) {
	m, state := &memory{data: make([]byte, size)}, &bytes.Buffer{}
	result, err := Split(bytes.NewReader(stream), state, m, size)
	return m, state.Bytes(), result, err
}

// TestSplitAndJoin: whatever order pages come in, and however often, the memory is what came last, and the
// state stream is the stream without the memory's records.
func TestSplitAndJoin(t *testing.T) {
	for seed := range uint64(200) {
		s := random(seed, 64)
		m, state, result, err := split(s.stream, int64(len(s.ram)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(m.data, s.ram) {
			t.Errorf("seed %d: the memory is not what was sent", seed)
		}
		if !bytes.Equal(state, s.state) {
			t.Errorf("seed %d: the state has %d bytes, not the expected %d", seed, len(state), len(s.state))
		}
		sum := sha256.Sum256(state)
		if result.StateBytes != int64(len(state)) || result.StateSHA256 != hex.EncodeToString(sum[:]) ||
			result.FirmwareBytes != int64(len(s.rom)) || result.DataBytes != int64(len(s.sent))*PageBytes {
			t.Errorf("seed %d: %+v of %d bytes of state and %d pages", seed, result, len(state), len(s.sent))
		}
		// A QEMU that has mapped the memory loads the state: no record of it is the memory's.
		if _, err := Split(bytes.NewReader(state), io.Discard, m, int64(len(s.ram))); err != nil || !bytes.Equal(m.data, s.ram) {
			t.Errorf("seed %d: joined it is another memory: %v", seed, err)
		}
	}
}

// TestRunsAreWrittenAtOnce: a megabyte of neighbouring pages is one write, and zeros are none.
func TestRunsAreWrittenAtOnce(t *testing.T) {
	const size = 8 << 20
	g := newGenerator(size)
	g.begin()
	page := bytes.Repeat([]byte{7}, PageBytes)
	for at := int64(0); at < size; at += PageBytes {
		if at < 3<<20 {
			g.page(MemoryBlock, at, page)
		} else {
			g.page(MemoryBlock, at, nil)
		}
	}
	g.end()
	m, _, result, err := split(g.stream, size)
	if err != nil || m.writes != 3 || result.DataBytes != 3<<20 {
		t.Errorf("%d writes, %d bytes, %v", m.writes, result.DataBytes, err)
	}
}

func TestRefusals(t *testing.T) {
	const size = 64 * PageBytes
	page := make([]byte, PageBytes)
	for name, c := range map[string]struct {
		make func(g *generator)
		want string
	}{
		"another magic":      {func(g *generator) { g.begin(); g.stream[0] ^= 1; g.end() }, "magic number"},
		"another version":    {func(g *generator) { g.begin(); g.stream[7] ^= 1; g.end() }, "version"},
		"a machine's name":   {func(g *generator) { g.begin(); g.stream[9] = 1; g.end() }, "a machine's name of"},
		"a device first":     {func(g *generator) { g.begin(); g.footer(); g.put(sectionFull); g.end() }, "type 0x4"},
		"a subsection":       {func(g *generator) { g.begin(); g.footer(); g.put(5); g.end() }, "type 0x5"},
		"two beginnings":     {func(g *generator) { g.begin(); g.footer(); g.put(sectionStart); g.end() }, "second section"},
		"a page outside":     {func(g *generator) { g.begin(); g.page(MemoryBlock, size, page); g.end() }, "which has"},
		"a page far outside": {func(g *generator) { g.begin(); g.page(MemoryBlock, -PageBytes, page); g.end() }, "which has"},
		"an unknown block":   {func(g *generator) { g.begin(); g.page("vga.vram", 0, page); g.end() }, "vga.vram"},
		"compressed":         {func(g *generator) { g.begin(); g.put64(0x100); g.end() }, "flags 0x100"},
		"xbzrle":             {func(g *generator) { g.begin(); g.put64(0x40); g.end() }, "flags 0x40"},
		"page and zero":      {func(g *generator) { g.begin(); g.put64(flagZero | flagPage); g.end() }, "flags 0xa"},
		"continued nothing":  {func(g *generator) { g.begin(); g.put64(flagPage | flagContinue); g.end() }, "which has"},
		"filled with ones": {func(g *generator) {
			g.begin()
			g.put64(flagZero)
			g.name(MemoryBlock)
			g.put(1)
			g.end()
		}, "filled with 0x1"},
		"a record again and again": {func(g *generator) {
			g.begin()
			for range maxSent*64 + 1 {
				g.page(MemoryBlock, 0, nil)
			}
			g.end()
		}, "records a page"},
		"no devices":         {func(g *generator) { g.begin(); g.finish(); g.put(0) }, "section after the memory"},
		"another footer":     {func(g *generator) { g.begin(); g.put64(flagEnd); g.put(sectionFooter); g.put32(9) }, "footer"},
		"nothing":            {func(*generator) {}, "too early"},
		"only a beginning":   {func(g *generator) { g.begin() }, "too early"},
		"a long command":     {func(g *generator) { g.begin(); g.footer(); g.put(command, 0, 7, 0xff, 0xff); g.end() }, "a command with"},
		"a section's number": {func(g *generator) { g.begin(); g.footer(); g.put(sectionPart); g.put32(77); g.end() }, "section's number"},
		"too much state": {func(g *generator) {
			g.begin()
			g.end()
			g.put(make([]byte, MaxState)...)
		}, "has more than"},
	} {
		g := newGenerator(size)
		c.make(g)
		_, _, _, err := split(g.stream, size)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSmallest: what the refused streams begin with is not refused itself, and a memory of another size is.
func TestSmallest(t *testing.T) {
	const size = 64 * PageBytes
	g := newGenerator(size)
	g.begin()
	g.end()
	if _, _, _, err := split(g.stream, size); err != nil {
		t.Errorf("what all of these begin with is refused: %v", err)
	}
	if _, _, _, err := split(g.stream, size+PageBytes); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "a memory of") {
		t.Errorf("another size of memory: %v", err)
	}
}

// TestFailedWrites: an error of the files is not one of the stream.
func TestFailedWrites(t *testing.T) {
	s := random(1, 64)
	m := &memory{data: make([]byte, len(s.ram)), limit: 1}
	_, err := Split(bytes.NewReader(s.stream), io.Discard, m, int64(len(s.ram)))
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrMalformed) {
		t.Errorf("no room for the memory: %v", err)
	}
	m.limit = 0
	_, err = Split(bytes.NewReader(s.stream), full{}, m, int64(len(s.ram)))
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrMalformed) {
		t.Errorf("no room for the state: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestTruncated: no beginning of the memory's part is taken for a whole.
func TestTruncated(t *testing.T) {
	s := random(3, 64)
	memoryEnds := len(s.stream) - len(devices)
	r := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		if _, _, _, err := split(s.stream[:r.IntN(memoryEnds+1)], int64(len(s.ram))); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	const pages = 2
	for seed := range uint64(4) {
		s := random(seed, pages)
		f.Add(s.stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		m, state, result, err := split(stream, pages*PageBytes)
		if err != nil {
			return
		}
		if result.StateBytes != int64(len(state)) || len(state) > len(stream) {
			t.Errorf("%+v with %d bytes of state", result, len(state))
		}
		empty := bytes.Count(m.data, []byte{0}) == len(m.data)
		if result.DataBytes > pages*PageBytes || result.DataBytes == 0 && !empty {
			t.Errorf("%+v", result)
		}
		// The state stream is a whole stream without pages of the memory.
		_, again, second, err := split(state, pages*PageBytes)
		if err != nil || second.DataBytes != 0 || !slices.Equal(again, state) {
			t.Errorf("the state is not a stream: %v, %+v", err, second)
		}
	})
}
