package blockdev

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx/fusetest"
)

// TestHeadersOfOthersAreRefused: the kernel obeys what a copy-on-write file begins
// with, so each way to it refuses all but a new file's and ours.
func TestHeadersOfOthersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		magic, valid, version, chunk uint32
		ours                         bool
	}{
		"new":                   {0, 0, 0, 0, true},
		"ours":                  {cowMagic, 1, cowVersion, chunkSectors, true},
		"ours, invalidated":     {cowMagic, 0, cowVersion, chunkSectors, true},
		"chunks of 1 GiB":       {cowMagic, 1, cowVersion, 1 << 21, false},
		"chunks of 8 KiB":       {cowMagic, 1, cowVersion, 16, false},
		"chunks of nothing":     {cowMagic, 1, cowVersion, 0, false},
		"invalidated, of 1 GiB": {cowMagic, 0, cowVersion, 1 << 21, false},
		"another version":       {cowMagic, 1, 2, chunkSectors, false},
		"another validity":      {cowMagic, 2, cowVersion, chunkSectors, false},
		"another magic":         {cowMagic + 1, 1, cowVersion, chunkSectors, false},
		"only the magic":        {cowMagic, 0, 0, 0, false},
		"no magic":              {0, 0, 0, 1 << 21, false},
	} {
		var raw [16]byte
		for i, v := range []uint32{c.magic, c.valid, c.version, c.chunk} {
			binary.LittleEndian.PutUint32(raw[4*i:], v)
		}
		base, cow := fileOf(t, 1<<20, ""), fileOf(t, 1<<20, string(raw[:]))
		_, newErr := newSnapshot("0123456789ab", base, cow)
		reviveErr := revive(cow)
		to, err := os.Create(filepath.Join(t.TempDir(), "to"))
		if err != nil {
			t.Fatal(err)
		}
		applyErr := ApplyCow(t.Context(), to, cow, 1<<20)
		to.Close()
		for way, err := range map[string]error{"newSnapshot": newErr, "revive": reviveErr, "ApplyCow": applyErr} {
			if c.ours && err != nil || !c.ours && api.KindOf(err) != api.KindInvalid {
				t.Errorf("%s, %s: %v", name, way, err)
			}
		}
		var now [16]byte
		if _, err := cow.ReadAt(now[:], 0); err != nil || !c.ours && now != raw {
			t.Errorf("%s: it became %x, %v", name, now, err)
		}
	}
}

// TestChunksTheKernelRead: a header that was written after it was looked at shows in
// the table that the kernel then has.
func TestChunksTheKernelRead(t *testing.T) {
	for params, refused := range map[string]bool{"7:0 7:1 PO 8": false, "7:0 7:1 PO 2097152": true, "7:0 7:1 PO 16": true, "7:0 7:1 PO 0": true} {
		table, err := parseTable(target{length: 8, kind: snapshotTarget, params: params})
		if err != nil {
			t.Fatal(err)
		}
		if err := table.checkChunk(); (api.KindOf(err) == api.KindInvalid) != refused || !refused && err != nil {
			t.Errorf("%s: %v", params, err)
		}
	}
}

// TestForeign: devices over files in a user's FUSE are in nobody's way.
func TestForeign(t *testing.T) {
	const look = "ioctl LOOP_GET_STATUS64"
	for _, err := range []error{os.NewSyscallError(look, unix.EACCES), os.NewSyscallError(look, unix.ENOTCONN)} {
		if !foreign(err) {
			t.Errorf("%v is no foreign file's", err)
		}
	}
	unopened := &os.PathError{Op: "open", Path: "/dev/loop0", Err: unix.EACCES}
	for _, err := range []error{nil, errUnbound, os.NewSyscallError(look, unix.EIO), unopened, errors.New("x")} {
		if foreign(err) {
			t.Errorf("%v is a foreign file's", err)
		}
	}
}

// TestFilesInUserSpaceAreRefused: with and without a snapshot, before anything of the
// file is looked at. That a disk is not in user space is TestRefuseFUSE's.
func TestFilesInUserSpaceAreRefused(t *testing.T) {
	f := fusetest.File(t)
	good := fileOf(t, 1<<20, "")
	_, plain := AttachPlain(t.Context(), "0123456789ab", f)
	_, base := AttachSnapshot(t.Context(), "0123456789ab", f, good)
	_, cow := AttachSnapshot(t.Context(), "0123456789ab", good, f)
	for name, err := range map[string]error{"plain": plain, "base": base, "copy-on-write": cow} {
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "in user space") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
