package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path"
	"runtime"
	"strings"
	"testing"

	"banger/api"
)

// said is an entry with zeros for attributes.
func said(kind byte, name string, more ...byte) []byte {
	return append(append(appendText([]byte{kind}, name), 0, 0, 0, 0, 0), more...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// nested are directories in one another, whose names have that length.
func nested(length int) []byte {
	return bytes.Repeat(said(kindDir, strings.Repeat("d", length)), maxPath/length+1)
}

var end = []byte{kindEnd}

const number = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" // with too many bits

// hostileLists are lists that no agent writes, and what is said of each.
var hostileLists = map[string]struct {
	list []byte
	want string
}{
	"nothing":                {nil, ErrCut.Error()},
	"no end":                 {said(kindFile, "a"), ErrCut.Error()},
	"no end of a directory":  {join(said(kindDir, "a"), end), ErrCut.Error()},
	"half an entry":          {said(kindFile, "a")[:4], ErrCut.Error()},
	"half a name":            {[]byte{kindFile, 9, 'a'}, ErrCut.Error()},
	"more behind the end":    {join(end, end), "something follows the end"},
	"an entry behind it":     {join(end, said(kindFile, "a")), "something follows the end"},
	"a name upwards":         {said(kindDir, ".."), ".. is not the name of a file"},
	"the directory itself":   {said(kindDir, "."), ". is not the name of a file"},
	"an absolute name":       {said(kindFile, "/etc/passwd"), "/etc/passwd is not the name of a file"},
	"a path":                 {said(kindFile, "a/b"), "a/b is not the name of a file"},
	"a NUL":                  {said(kindFile, "a\x00b"), `"a\x00b" is not the name of a file`},
	"no name":                {said(kindFile, ""), "a name is empty"},
	"a name that is long":    {append([]byte{kindFile}, binary.AppendUvarint(nil, maxPath+1)...), "a number is 4096, which is more than 4095"},
	"a name without end":     {append([]byte{kindFile}, binary.AppendUvarint(nil, math.MaxUint64)...), "which is more than 4095"},
	"no number":              {append([]byte{kindFile}, number...), "overflows"},
	"a name twice":           {join(said(kindFile, "a"), said(kindFile, "a")), "a comes after a"},
	"a name as two types":    {join(said(kindLink, "a", 1, 'x'), said(kindDir, "a")), "a comes after a"},
	"names in another order": {join(said(kindFile, "b"), said(kindFile, "a")), "a comes after b"},
	"twice after a level":    {join(said(kindDir, "a"), said(kindFile, "z"), end, said(kindDir, "a")), "a comes after a"},
	"a path that is long":    {nested(255), "a path has more than 4095 bytes"},
	"many levels":            {nested(1), "a path has more than 4095 bytes"},
	"an unknown kind":        {said(9, "a"), "an entry is of kind 0x9"},
	"a flag of no meaning":   {said(kindFile|flagSkipped, "a"), "an entry is of kind 0x11"},
	"a file unread":          {said(kindFile|flagUnread, "a", 5), "an entry is of kind 0x21"},
	"skipped and unread":     {said(kindDir|flagSkipped|flagUnread, "a", 5), "an entry is of kind 0x32"},
	"unread without a cause": {said(kindDir|flagUnread, "a", 0), "the number of an error is 0"},
	"no error of Linux":      {said(kindOther|flagUnread, "a", 0x80, 0x20), "a number is 4096, which is more than 4095"},
	"a link without target":  {said(kindLink, "a", 0), "a name is empty"},
	"a link with a NUL":      {said(kindLink, "a", 1, 0), "the link a has a target with a NUL byte"},
	"a mode of more bits":    {append(appendText([]byte{kindFile}, "a"), 0x80, 0x20), "a number is 4096, which is more than 4095"},
	"a negative size":        {append(append(appendText([]byte{kindFile}, "a"), 0), binary.AppendUvarint(nil, 1<<63)...), "a number is 9223372036854775808"},
	"a line break":           {said(kindFile, "a\n/banger: all is well"), `"a\n/banger: all is well" is not the name of a file`},
	"a long line":            {said(kindFile, strings.Repeat("/", 4000)), `/"… is not the name of a file`},
}

func TestHostileLists(t *testing.T) {
	for name, c := range hostileLists {
		all, err := entries(c.list, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%s: got %v\nwant %s", name, err, c.want)
		}
		if cut := c.want == ErrCut.Error(); cut != errors.Is(err, ErrCut) || !cut && api.KindOf(err) != api.KindInternal {
			t.Errorf("%s: %v is of kind %s", name, err, api.KindOf(err))
		}
		checkEntries(t, all)
	}
}

// checkEntries holds entries to what Read promises.
func checkEntries(t *testing.T, all []Entry) {
	t.Helper()
	kinds := map[string]string{".": Dir}
	last := map[string]string{}
	for _, e := range all {
		dir, base := path.Dir(e.Path), path.Base(e.Path)
		switch {
		case CheckPath(e.Path) != nil:
			t.Fatalf("%q is not a path: %v", e.Path, CheckPath(e.Path))
		case kinds[dir] != Dir:
			t.Fatalf("%q is in something else than a directory", e.Path)
		case base <= last[dir]:
			t.Fatalf("%q comes after %q", e.Path, last[dir])
		case e.Type != File && e.Type != Dir && e.Type != Link && e.Type != Other,
			e.Skipped && e.Type != Dir, e.Unread != "" && e.Type != Dir && e.Type != Other,
			e.Type == Link != (e.Link != ""), strings.ContainsRune(e.Link, 0),
			e.Mode > 0o7777, e.Size < 0:
			t.Fatalf("%+v", e)
		}
		last[dir], kinds[e.Path] = base, e.Type
		if e.Skipped || e.Unread != "" {
			kinds[e.Path] = "closed"
		}
	}
}

// endless never ends.
type endless struct{ next func() []byte }

func (e endless) Read(p []byte) (n int, err error) {
	for n == 0 {
		n = copy(p, e.next())
	}
	return n, nil
}

// TestListsWithoutEnd: they end at the limits, and nothing of them is kept.
func TestListsWithoutEnd(t *testing.T) {
	const most = 20_000
	count := 0
	again := func(b []byte) func() []byte { return func() []byte { return b } }
	for name, c := range map[string]struct {
		next func() []byte
		want string
	}{
		"files": {func() []byte {
			count++
			return said(kindFile, fmt.Sprintf("%020d", count))
		}, "it has more than 20000 files and directories"},
		"files again": {again(said(kindFile, "a")), "a comes after a"},
		"levels":      {again(join(said(kindDir, "d"), end)), "d comes after d"},
		"deep levels": {again(said(kindDir, "d")), "a path has more than 4095 bytes"},
		"one number":  {again([]byte{0xff}), "an entry is of kind 0xff"},
		"one letter":  {again([]byte("a")), "an entry is of kind 0x61"},
		"long names": {func() []byte {
			count++
			return said(kindFile, fmt.Sprintf("%01000d", count))
		}, "takes more than 4000000 bytes"},
	} {
		before := memory()
		got := 0
		err := Read(endless{c.next}, Options{Entries: most, Bytes: 4_000_000}, func(Entry) error { got++; return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) || got > most {
			t.Errorf("%s: %v after %d entries, want %s", name, err, got, c.want)
		}
		if used := memory() - before; used > 1<<20 {
			t.Errorf("%s: %d bytes of memory are kept", name, used)
		}
	}
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// FuzzRead reads anything. What is read can be written again.
func FuzzRead(f *testing.F) {
	for _, c := range hostileLists {
		f.Add(c.list)
	}
	f.Add(join(said(kindDir, "a"), said(kindLink, "b", 1, 'x'), said(kindOther|flagUnread, "c", 5), end, said(kindDir|flagSkipped, "d"), end))
	f.Fuzz(func(t *testing.T, list []byte) {
		o := Options{Entries: 1000, Bytes: 1 << 16}
		all, err := entries(list, o)
		checkEntries(t, all)
		if len(all) > 1000 || err == nil && len(list) > 1<<16 {
			t.Errorf("%d entries of %d bytes", len(all), len(list))
		}
	})
}
