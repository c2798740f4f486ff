package migration

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// MemoryBlock is QEMU's name for the memory of a microvm machine.
const MemoryBlock = "microvm.ram"

// firmwareBlock is QEMU's name for the BIOS.
const firmwareBlock = "pc.bios"

// PageBytes is the size of a page in the stream: x86's.
const PageBytes = 4096

// MaxState bounds the state stream, in bytes. That of a machine with one disk and one network
// device has 200 to 350 KiB.
const MaxState = 64 << 20

// The types of sections (migration/qemu-file-types.h, savevm.h).
const (
	sectionStart   = 0x01
	sectionPart    = 0x02
	sectionEnd     = 0x03
	sectionFull    = 0x04
	configuration  = 0x07
	command        = 0x08
	sectionFooter  = 0x7e
	streamMagic    = 0x5145564d // "QEVM"
	streamVersion  = 3
	ramVersion     = 4
	maxMachineName = 256
	maxCommand     = 4 << 10
)

// Result is what Split has found.
type Result struct {
	StateBytes  int64  // length of the state stream
	StateSHA256 string // its digest, in hexadecimal
	DataBytes   int64  // of the memory, without its holes
	// FirmwareBytes is the length of the BIOS. Its content is in the state stream: it writes into itself.
	FirmwareBytes int64
}

// ErrMalformed is the error of a stream that is not one of a microvm machine of the expected size.
var ErrMalformed = errors.New("QEMU's migration stream is not valid")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Split reads a stream to its end. The memory, of memoryBytes, goes to memory, which reads as
// zeros before; a page of zeros stays unwritten, as a hole, unless other content of the page came before.
// All else goes to state. It cannot tell whether the stream is complete: QEMU does, on its monitor.
//
// A stream that is not valid gives ErrMalformed; all other errors are those of r, state and memory.
func Split(r io.Reader, state io.Writer, memory io.WriterAt, memoryBytes int64) (Result, error) {
	if memoryBytes <= 0 || memoryBytes%PageBytes != 0 {
		return Result{}, fmt.Errorf("a memory of %d bytes has no whole pages", memoryBytes)
	}
	digest := sha256.New()
	out := &bounded{to: io.MultiWriter(state, digest), left: MaxState}
	s := &splitter{
		in: bufio.NewReaderSize(r, 256<<10), out: bufio.NewWriterSize(out, 64<<10),
		memory: newPages(memory, memoryBytes),
	}
	err := s.stream()
	if err == nil {
		err = s.memory.flush()
	}
	if err == nil {
		err = s.out.Flush()
	}
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = malformed("it ends too early")
		}
		return Result{}, err
	}
	return Result{
		StateBytes: MaxState - out.left, StateSHA256: hex.EncodeToString(digest.Sum(nil)),
		DataBytes: s.memory.dataBytes(), FirmwareBytes: s.blocks[firmwareBlock],
	}, nil
}

// bounded refuses to write more than is left.
type bounded struct {
	to   io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, malformed("what is not memory has more than %d MiB", MaxState>>20)
	}
	n, err := b.to.Write(p)
	b.left -= int64(n)
	return n, err
}

type splitter struct {
	in     *bufio.Reader
	out    *bufio.Writer
	memory *pages

	section uint32 // the number of the memory's section
	blocks  map[string]int64
	last    string // the block of the last record
	records int64  // of the memory's pages
}

// stream reads all: a header, a configuration, the sections of the memory, and those of the devices,
// whose length only QEMU knows.
func (s *splitter) stream() error {
	if err := s.header(); err != nil {
		return err
	}
	for {
		kind, err := s.copy8()
		if err != nil {
			return err
		}
		switch kind {
		case sectionStart:
			err = s.start()
		case sectionPart, sectionEnd:
			err = s.part()
		case command: // such as that the switch-over starts, since QEMU 8.1
			err = s.command()
		default:
			return malformed("a section of type %#x before the end of the memory", kind)
		}
		if err != nil {
			return err
		}
		if kind == sectionEnd {
			return s.devices()
		}
	}
}

func (s *splitter) header() error {
	if err := s.expect32("magic number", streamMagic); err != nil {
		return err
	}
	if err := s.expect32("version", streamVersion); err != nil {
		return err
	}
	if err := s.expect8("configuration", configuration); err != nil {
		return err
	}
	n, err := s.copy32()
	if err != nil {
		return err
	}
	if n > maxMachineName {
		return malformed("a machine's name of %d bytes", n)
	}
	_, err = s.copyBytes(int(n))
	return err
}

func (s *splitter) command() error {
	if _, err := s.copyBytes(2); err != nil {
		return err
	}
	n, err := s.copyBytes(2)
	if err != nil {
		return err
	}
	length := int(n[0])<<8 | int(n[1])
	if length > maxCommand {
		return malformed("a command with %d bytes", length)
	}
	_, err = s.copyBytes(length)
	return err
}

// devices copies the rest. It must begin with the section of a device.
func (s *splitter) devices() error {
	if err := s.expect8("section after the memory", sectionFull); err != nil {
		return err
	}
	_, err := io.Copy(s.out, s.in)
	return err
}

func (s *splitter) footer() error {
	if err := s.expect8("section's footer", sectionFooter); err != nil {
		return err
	}
	return s.expect32("section's number in its footer", s.section)
}
