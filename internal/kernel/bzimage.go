package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The fields of the setup header are described in the kernel's
// Documentation/arch/x86/boot.rst.
const (
	offSetupSects    = 0x1f1
	offMagic         = 0x202 // "HdrS"
	offVersion       = 0x206
	offKernelVersion = 0x20e
	offPayload       = 0x248
	offPayloadLength = 0x24c
	sector           = 512
	// payloadSince is the protocol version that brought the payload fields.
	payloadSince = 0x0208
)

// bzImage is the header of an x86 boot image.
type bzImage struct {
	payload []byte // the compressed kernel, its size in 4 bytes at the end
	release string
}

// isBzImage reports whether data starts like an x86 boot image.
func isBzImage(data []byte) bool {
	return len(data) > offPayloadLength+4 && string(data[offMagic:offMagic+4]) == "HdrS"
}

// parseBzImage finds the payload and the release in an x86 boot image.
func parseBzImage(data []byte) (bzImage, error) {
	if !isBzImage(data) {
		return bzImage{}, errors.New("not an x86 boot image")
	}
	if v := binary.LittleEndian.Uint16(data[offVersion:]); v < payloadSince {
		return bzImage{}, fmt.Errorf("its boot protocol %#x is older than Linux 2.6.26", v)
	}
	sects := int64(data[offSetupSects])
	if sects == 0 {
		sects = 4
	}
	start := (sects+1)*sector + int64(binary.LittleEndian.Uint32(data[offPayload:]))
	end := start + int64(binary.LittleEndian.Uint32(data[offPayloadLength:]))
	if end > int64(len(data)) || end-start < 8 {
		return bzImage{}, fmt.Errorf("its compressed kernel should end at byte %d of %d: the file is cut off or damaged", end, len(data))
	}
	return bzImage{payload: data[start:end], release: bzRelease(data)}, nil
}

// bzRelease reads the version string, "RELEASE (builder) #n …"; empty if there is none.
func bzRelease(data []byte) string {
	at := int(binary.LittleEndian.Uint16(data[offKernelVersion:]))
	if at == 0 || at+sector >= len(data) {
		return ""
	}
	text := data[at+sector:]
	end := bytes.IndexAny(text[:min(len(text), 128)], " \x00")
	if end < 0 || !validRelease(string(text[:end])) {
		return ""
	}
	return string(text[:end])
}
