package filecopy

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// says is a message of a source, rendered.
func says(kind frameKind, v any) []byte {
	body, ok := v.([]byte)
	if !ok && v != nil {
		body, _ = json.Marshal(v)
	}
	head := append([]byte{byte(kind)}, binary.BigEndian.AppendUint32(nil, uint32(len(body)))...)
	return append(head, body...)
}

func dataAt(offset int64, text string) []byte {
	return says(kindData, append(binary.BigEndian.AppendUint64(nil, uint64(offset)), text...))
}

// fileOf is all that is said of one file with a byte in it, behind others of its
// batch.
func fileOf(name string, behind ...[]byte) []byte {
	return bytes.Join([][]byte{
		bytes.Join(behind, nil),
		entry(File, name, ""), says(kindBatch, nil), says(kindOpen, opening{Index: len(behind), Size: 1}), dataAt(0, "x"), says(kindClose, nil),
	}, nil)
}

func entry(kind Type, name, target string) []byte {
	return says(kindEntry, wireEntry{Type: kind, Name: []byte(name), Target: []byte(target), Mode: 0o777, Size: 1})
}

// hostile are conversations that no honest source has, and what is said of each.
func hostile() map[string]struct {
	says []byte
	told string
} {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	batch, end := says(kindBatch, nil), says(kindEnd, nil)
	top := entry(Dir, "top", "")
	return map[string]struct {
		says []byte
		told string
	}{
		"an absolute name":               {fileOf("/etc/x", top), "refused the entry /etc/x"},
		"a name upwards":                 {fileOf("top/../../x", top), "refused the entry top/../../x"},
		"a name beside what was asked":   {fileOf("other"), "refused the entry other: only top was requested"},
		"a name that only begins alike":  {join(top, fileOf("topping")), "refused the entry topping"},
		"dots within":                    {join(top, fileOf("top/./x")), "shortest form"},
		"a zero byte":                    {join(top, fileOf("top/a\x00b")), `refused the entry "top/a\x00b"`},
		"a line break":                   {join(top, entry("device", "top/a\nbanger: all is well", "")), `refused the entry "top/a\nbanger: all is well"`},
		"a device":                       {join(top, entry("device", "top/null", "")), "refused the entry top/null: its type is not supported"},
		"a link in place of a file":      {entry(Symlink, "top", "../secret"), "the copied file itself must not be a link"},
		"through a link":                 {fileOf("top/l/x", top, entry(Symlink, "top/l", "../..")), "refused the entry top/l: its path contains a symbolic link"},
		"through a link that stays here": {fileOf("top/l/x", top, entry(Symlink, "top/l", ".")), "its path contains a symbolic link"},
		"a directory through a link":     {join(top, entry(Symlink, "top/l", "../.."), entry(Dir, "top/l/d", "")), "its path contains a symbolic link"},
		"a directory in a link's place":  {join(top, entry(Symlink, "top/l", "../.."), entry(Dir, "top/l", ""), batch, end), "not a directory"},
		"a link through a link":          {join(top, entry(Symlink, "top/l", "../.."), entry(Symlink, "top/l/s", "x")), "its path contains a symbolic link"},
		"a hard link to the outside":     {join(top, entry(Link, "top/h", "../secret"), batch), "refused the entry top/h: it is a hard link to ../secret"},
		"a hard link to an own file":     {join(top, entry(Link, "top/h", "top/mine"), batch), "which was not sent before"},
		"a hard link through a link": {join(top, entry(Symlink, "top/l", "../.."), entry(Link, "top/h", "top/l/secret"), batch),
			"which was not sent before"},
		"data behind the end":       {join(entry(File, "top", ""), batch, says(kindOpen, opening{Size: 1}), dataAt(1, "x")), "has data at 1"},
		"data before the offset":    {join(entry(File, "top", ""), batch, says(kindOpen, opening{Size: 9}), dataAt(4, "x"), dataAt(0, "x")), "has data at 0"},
		"a negative offset":         {join(entry(File, "top", ""), batch, says(kindOpen, opening{Size: 9}), dataAt(-1, "x")), "has data at -1"},
		"a negative size":           {join(entry(File, "top", ""), batch, says(kindOpen, opening{Size: -9})), "from 0 to -9"},
		"going on from nothing":     {join(entry(File, "top", ""), batch, says(kindOpen, opening{From: 1, Size: 1})), "is sent from 1 to 1"},
		"a file that was not named": {join(entry(File, "top", ""), batch, says(kindOpen, opening{Index: 7})), "unexpected content of file 7"},
		"content twice":             {join(fileOf("top"), says(kindOpen, opening{Size: 1})), "unexpected content of file 0"},
		"data for no file":          {dataAt(0, "x"), "data without a file"},
		"an end in the middle":      {join(entry(File, "top", ""), end), "it ends too early"},
		"a message of no type":      {says('?', nil), "a message of type"},
		"a message that is long":    {append([]byte{'e'}, 0xff, 0xff, 0xff, 0xff), "has 4294967295 bytes"},
		"attributes that are long": {says(kindEntry, wireEntry{Type: Dir, Name: []byte("top"), Xattrs: map[string][]byte{"user.x": make([]byte, maxXattrs)}}),
			"refused the entry top: it has more than 65536 bytes of extended attributes"},
		"silence":                {nil, "unexpected EOF"},
		"a batch without an end": {bytes.Repeat(top, batchEntries+1), "a batch is too long"},
	}
}

// refuseHostile lets a receiver hear b in a directory with a secret beside it, and
// says what it left there.
func refuseHostile(t testing.TB, outer string, b []byte) error {
	t.Helper()
	inner := filepath.Join(outer, "inner")
	must(t, os.Mkdir(inner, 0o755))
	must(t, os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o600))
	if bytes.HasPrefix(b, entry(Dir, "top", "")) {
		must(t, os.Mkdir(filepath.Join(inner, "top"), 0o755))
		must(t, os.WriteFile(filepath.Join(inner, "top/mine"), []byte("mine"), 0o600))
	}
	err := Receive(bytes.NewReader(b), io.Discard, inner, "top", Options{}, nil)
	if entries, _ := os.ReadDir(outer); len(entries) != 2 {
		t.Errorf("left outside: %v", entries)
	}
	if b, _ := os.ReadFile(filepath.Join(outer, "secret")); string(b) != "secret" {
		t.Errorf("the secret is %q", b)
	}
	if entries, _ := os.ReadDir(inner); len(entries) > 1 {
		t.Errorf("left beside what was asked for: %v", entries)
	}
	return err
}

func TestHostileSources(t *testing.T) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			err := refuseHostile(t, t.TempDir(), c.says)
			if err == nil || !strings.Contains(err.Error(), c.told) {
				t.Errorf("got %v\nwant %q", err, c.told)
			}
			if err != nil && strings.ContainsRune(err.Error(), '\n') {
				t.Errorf("the message has lines: %q", err)
			}
		})
	}
}

// TestWhatIsHeldIsBounded: what a source names is kept to the end of the copy as far
// as there is room, and a directory once, however often it is named.
func TestWhatIsHeldIsBounded(t *testing.T) {
	at, err := openTarget(t.TempDir(), Options{})
	must(t, err)
	defer at.close()
	at.room = 3000
	dir := Entry{Type: Dir, Name: "d", Mode: 0o700, Xattrs: map[string]string{"user.x": strings.Repeat("v", 2000)}}
	for range 3 {
		must(t, at.dir(dir))
	}
	const told = "the names and attributes that came before it fill"
	other := dir
	other.Name = "other"
	if err := at.dir(other); err == nil || !strings.Contains(err.Error(), told) {
		t.Errorf("a directory for which is no room: %v", err)
	}
	file := Entry{Type: File, Name: strings.Repeat("f", 800), Linked: true}
	for _, came := range []bool{false, true} { // the same name again takes no more
		must(t, at.linkable(file, came))
	}
	file.Name = strings.Repeat("g", 800)
	if err := at.linkable(file, false); err == nil || !strings.Contains(err.Error(), told) {
		t.Errorf("a file with further names for which is no room: %v", err)
	}
}

// TestDirectoryNamedAgain: the later word counts, also of one in another.
func TestDirectoryNamedAgain(t *testing.T) {
	dir := t.TempDir()
	said := func(name string, mode uint32) []byte {
		return says(kindEntry, wireEntry{Type: Dir, Name: []byte(name), Mode: mode, Sec: int64(mode)})
	}
	source := bytes.Join([][]byte{
		said("top", 0o755), said("top/in", 0o755), said("top/in", 0o500), said("top", 0o500), says(kindBatch, nil), says(kindEnd, nil),
	}, nil)
	must(t, Receive(bytes.NewReader(source), io.Discard, dir, "top", Options{}, nil))
	for _, name := range []string{"top", "top/in"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode().Perm() != 0o500 || info.ModTime().Unix() != 0o500 {
			t.Errorf("%s has mode %v and time %v", name, info.Mode(), info.ModTime())
		}
	}
	must(t, removeAll(filepath.Join(dir, "top")))
}

// TestPlantedLinkIsReplaced: a link that an earlier copy planted is not written
// through by the next.
func TestPlantedLinkIsReplaced(t *testing.T) {
	outer := t.TempDir()
	inner := filepath.Join(outer, "inner")
	must(t, os.Mkdir(inner, 0o755))
	must(t, os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o600))
	must(t, os.Symlink("../secret", filepath.Join(inner, "top")))
	must(t, Receive(bytes.NewReader(append(fileOf("top"), says(kindEnd, nil)...)), io.Discard, inner, "top", Options{}, nil))
	if b, _ := os.ReadFile(filepath.Join(outer, "secret")); string(b) != "secret" {
		t.Errorf("the secret is %q", b)
	}
	if b, _ := os.ReadFile(filepath.Join(inner, "top")); string(b) != "x" {
		t.Errorf("the file is %q", b)
	}
}

// FuzzReceive lets a receiver hear anything.
func FuzzReceive(f *testing.F) {
	for _, c := range hostile() {
		f.Add(c.says)
	}
	f.Add(append(fileOf("top"), says(kindEnd, nil)...))
	outer := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = refuseHostile(t, outer, b)
		must(t, removeAll(filepath.Join(outer, "inner")))
		must(t, os.Remove(filepath.Join(outer, "secret")))
	})
}

// FuzzSend lets a source hear anything.
func FuzzSend(f *testing.F) {
	f.Add(append(says(kindHave, []have{{0, 1}}), says(kindWants, []want{{0, 1, false}})...))
	f.Add(says(kindHave, []have{{5, -1}}))
	dir := f.TempDir()
	must(f, os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o600))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = Send(t.Context(), bytes.NewReader(b), io.Discard, filepath.Join(dir, "f"), "f", nil)
	})
}
