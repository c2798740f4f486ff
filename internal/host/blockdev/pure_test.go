package blockdev

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"banger/api"
)

func TestParseUsage(t *testing.T) {
	for params, want := range map[string]Usage{
		"16/8192 16":          {Used: 16, Total: 8192, Metadata: 16},
		"397896/2097152 1560": {Used: 397896, Total: 2097152, Metadata: 1560}, // from snapshot.rst
		"0/0 0":               {},
		"Invalid":             {Invalid: true},
		"Merge failed":        {Invalid: true},
		"Overflow":            {Overflow: true},
		"Unknown":             {},
	} {
		if got, err := parseUsage(params); err != nil || got != want {
			t.Errorf("%q is %+v, %v", params, got, err)
		}
	}
	for _, params := range []string{"", "1/2", "1/2 ", "1 2 3", "1/2/3", "1/2 3 4", " 1/2 3", "-1/2 3", "1/2 x", "99999999999999999999/1 1", "invalid", "1//2 3"} {
		if got, err := parseUsage(params); err == nil {
			t.Errorf("%q is %+v", params, got)
		}
	}
}

func FuzzParseUsage(f *testing.F) {
	f.Add("16/8192 16")
	f.Fuzz(func(t *testing.T, params string) {
		u, err := parseUsage(params)
		if err != nil && u != (Usage{}) {
			t.Errorf("%q is %+v and %v", params, u, err)
		}
	})
}

func TestParseTable(t *testing.T) {
	line := func(kind, params string) target { return target{length: 8, kind: kind, params: params} }
	for _, c := range []struct {
		line target
		want table
	}{
		{line("snapshot", "7:0 7:1 P 8"), table{"7:0", "7:1", 8}},
		{line("snapshot", "7:0 7:1 PO 2097152"), table{"7:0", "7:1", 2097152}},
		{line("snapshot", "253:10 7:1048575 PO 8 1 discard_zeroes_cow"), table{"253:10", "7:1048575", 8}},
	} {
		if got, err := parseTable(c.line); err != nil || got != c.want {
			t.Errorf("%+v is %+v, %v", c.line, got, err)
		}
	}
	for _, bad := range []target{
		line("linear", "7:0 7:1 P 8"), line("snapshot", "7:0 7:1"), line("snapshot", ""),
		line("snapshot", "7:0 /dev/loop1 P 8"), line("snapshot", "7:0 7:1 P x"), line("snapshot", "7:0 7:1 P -8"), line("snapshot", "7:../x 7:1 P 8"), {start: 8, kind: "snapshot", params: "7:0 7:1 P 8"},
	} {
		if got, err := parseTable(bad); err == nil {
			t.Errorf("%+v is %+v", bad, got)
		}
	}
	if got := (table{base: "7:0", cow: "7:1"}).params(); got != "7:0 7:1 PO 8" {
		t.Error(got)
	}
}

// TestLoadMessage compares with what libdevmapper sends for the same table.
func TestLoadMessage(t *testing.T) {
	line := target{length: 2048, kind: snapshotTarget, params: "7:0 7:1 PO 8"}
	b, err := request{name: "banger-0123456789ab", targets: 1, data: line.encode()}.encode()
	if err != nil {
		t.Fatal(err)
	}
	got := hex.Dump(b[headerSize:])
	want := hex.Dump([]byte("\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x08\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x38\x00\x00\x00" +
		"snapshot\x00\x00\x00\x00\x00\x00\x00\x00" + "7:0 7:1 PO 8\x00\x00\x00\x00"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := order.Uint32(b[atDataSize:]); int(n) != len(b) || order.Uint32(b[atDataStart:]) != 312 || text(b[atName:]) != "banger-0123456789ab" {
		t.Error(hex.Dump(b[:headerSize]))
	}
	for _, name := range []string{strings.Repeat("x", unix.DM_NAME_LEN), "a\x00b"} {
		if _, err := (request{name: name}).encode(); err == nil {
			t.Errorf("%q is accepted as a name", name)
		}
	}
}

func TestDecodeAnswer(t *testing.T) {
	message := func(flags, start, size uint32, room int) []byte {
		b := make([]byte, headerSize+room)
		order.PutUint32(b[atFlags:], flags)
		order.PutUint32(b[atDataStart:], start)
		order.PutUint32(b[atDataSize:], size)
		order.PutUint64(b[atDev:], unix.Mkdev(253, 300))
		return b
	}
	a, err := decode(message(unix.DM_ACTIVE_PRESENT_FLAG, headerSize, headerSize+4, 8))
	if err != nil || len(a.data) != 4 || !a.has(unix.DM_ACTIVE_PRESENT_FLAG) || a.has(unix.DM_SUSPEND_FLAG) {
		t.Errorf("%+v, %v", a, err)
	}
	if d := a.device(); d != (Device{Name: "dm-300", Major: 253, Minor: 300}) || d.Path() != "/dev/dm-300" {
		t.Errorf("%+v", d)
	}
	for name, b := range map[string][]byte{
		"short": make([]byte, headerSize-1), "begins in the header": message(0, 8, headerSize+4, 8),
		"ends beyond the buffer": message(0, headerSize, headerSize+9, 8), "as far away as can be": message(0, headerSize, math.MaxUint32, 8),
	} {
		if a, err := decode(b); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	for name, b := range map[string][]byte{
		"a full buffer": message(unix.DM_BUFFER_FULL_FLAG, headerSize, math.MaxUint32, 8), "nothing": message(0, headerSize, headerSize, 8),
	} {
		if a, err := decode(b); err != nil || a.data != nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// nameRecord is a struct dm_name_list.
func nameRecord(dev uint64, next uint32, name string) []byte {
	b := order.AppendUint64(nil, dev)
	b = order.AppendUint32(b, next)
	b = append(append(b, name...), 0)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestDecodeNames(t *testing.T) {
	two := append(nameRecord(1, 24, "one"), nameRecord(2, 0, "two")...)
	two = append(two[:16], append(make([]byte, 8), two[16:]...)...) // the kernel writes more after the name
	for _, c := range []struct {
		data []byte
		want []string
	}{{nil, nil}, {nameRecord(0, 0, ""), nil}, {nameRecord(1, 0, "one"), []string{"one"}}, {two, []string{"one", "two"}}} {
		got, err := decodeNames(c.data)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	for _, bad := range [][]byte{{1}, nameRecord(1, 1, "loops for ever"), nameRecord(1, 4096, "beyond"), two[:25]} {
		if got, err := decodeNames(bad); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(append(make([]byte, headerSize), nameRecord(1, 0, "one")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, data := range [][]byte{b, answerData(b)} {
			names, err := decodeNames(data)
			if err == nil && len(names) > len(data)/12 {
				t.Errorf("%d names in %d bytes", len(names), len(data))
			}
			if line, err := decodeTarget(data); err == nil {
				_, _ = parseTable(line)
			}
		}
	})
}

func answerData(b []byte) []byte {
	a, err := decode(b)
	if err != nil {
		return nil
	}
	return a.data
}

// TestCowBytesSuffice hands out chunks as persistent_prepare_exception does.
func TestCowBytesSuffice(t *testing.T) {
	for _, base := range []int64{0, 1, 512, chunkSize, chunkSize + 512, 255 * chunkSize, 256 * chunkSize, 257 * chunkSize, 1 << 30, 64<<30 + 512} {
		have := CowBytes(base)
		next, committed := int64(2), int64(0)
		for range (base + chunkSize - 1) / chunkSize {
			if have < (next+1)*chunkSize {
				t.Fatalf("base of %d bytes: no room for chunk %d", base, next)
			}
			next++
			if next%(exceptionsPerArea+1) == 1 {
				next++
			}
			committed++
		}
		cleared := 1 + (exceptionsPerArea+1)*(committed/exceptionsPerArea) // area_location of the one after all full ones
		if have < (cleared+1)*chunkSize || have%(1<<20) != 0 {
			t.Errorf("base of %d bytes: %d", base, have)
		}
		if base > 0 && float64(have) > 1.005*float64(base)+4<<20 {
			t.Errorf("base of %d bytes: %d is too generous", base, have)
		}
	}
	for _, base := range []int64{-1, math.MinInt64, math.MaxInt64, math.MaxInt64/2 + 1, math.MaxInt64 / 2} {
		if n := CowBytes(base); n < 1<<20 || base > 0 && n < base-1<<20 {
			t.Errorf("CowBytes(%d) = %d", base, n)
		}
	}
}

func TestRevive(t *testing.T) {
	header := func(magic string, valid, version byte) string {
		return magic + string([]byte{valid, 0, 0, 0, version, 0, 0, 0, 8, 0, 0, 0})
	}
	for before, after := range map[string]string{
		header("SnAp", 0, 1):     header("SnAp", 1, 1),
		header("SnAp", 1, 1):     header("SnAp", 1, 1),
		"":                       "",
		string(make([]byte, 16)): string(make([]byte, 16)),
	} {
		f := fileOf(t, int64(len(before)), before)
		if err := revive(f); err != nil {
			t.Error(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || !bytes.Equal(got, []byte(after)) {
			t.Errorf("%q becomes %q, %v", before, got, err)
		}
	}
}

func TestRefusesDescriptors(t *testing.T) {
	good := fileOf(t, 1<<20, "x").Name()
	open := func(name string, flag int) *os.File {
		f, err := os.OpenFile(name, flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	closed := open(good, os.O_RDWR)
	closed.Close()
	const id = "0123456789ab"
	for name, c := range map[string]struct{ base, cow *os.File }{
		"a pipe as base":                   {r, open(good, os.O_RDWR)},
		"a directory as base":              {open(filepath.Dir(good), os.O_RDONLY), open(good, os.O_RDWR)},
		"a device as base":                 {open("/dev/zero", os.O_RDWR), open(good, os.O_RDWR)},
		"a base that cannot be read":       {open(good, os.O_WRONLY), open(good, os.O_RDWR)},
		"a base that is only a path":       {open(good, unix.O_PATH), open(good, os.O_RDWR)},
		"an empty base":                    {fileOf(t, 0, ""), open(good, os.O_RDWR)},
		"a base of odd size":               {fileOf(t, 1023, ""), open(good, os.O_RDWR)},
		"a base that is closed":            {closed, open(good, os.O_RDWR)},
		"a cow for reading":                {open(good, os.O_RDONLY), open(good, os.O_RDONLY)},
		"a cow for writing":                {open(good, os.O_RDONLY), open(good, os.O_WRONLY)},
		"a cow for appending":              {open(good, os.O_RDONLY), open(good, os.O_RDWR|os.O_APPEND)},
		"a cow that is too small":          {open(good, os.O_RDONLY), fileOf(t, 2*chunkSize, "")},
		"a cow that is a character device": {open(good, os.O_RDONLY), open("/dev/null", os.O_RDWR)},
	} {
		if d, err := AttachSnapshot(t.Context(), id, c.base, c.cow); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v, %v", name, d, err)
		}
		plain := c.cow
		if strings.Contains(name, "base") {
			plain = c.base
		}
		if name == "a cow that is too small" {
			continue
		}
		if d, err := AttachPlain(t.Context(), id, plain); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s, as a disk: %v, %v", name, d, err)
		}
	}
}

func TestRefusesIDs(t *testing.T) {
	for _, id := range []string{"", "base", "../456789abc", "0123456789AB", "0123456789abc", "-123456789ab"} {
		f := fileOf(t, 1<<20, "")
		_, snapshot := AttachSnapshot(t.Context(), id, f, f)
		_, plain := AttachPlain(t.Context(), id, f)
		_, status := Status(id)
		for name, err := range map[string]error{"AttachSnapshot": snapshot, "AttachPlain": plain, "Status": status, "Detach": Detach(t.Context(), id)} {
			if api.KindOf(err) != api.KindInvalid {
				t.Errorf("%s(%q): %v", name, id, err)
			}
		}
	}
}
