package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/treewatch"
)

func readEvents(b []byte) (all []treewatch.Event, err error) {
	err = ReadEvents(bytes.NewReader(b), func(e treewatch.Event) error {
		all = append(all, e)
		return nil
	})
	return all, err
}

func TestEvents(t *testing.T) {
	many := treewatch.Event{}
	for n := range treewatch.MaxDirs {
		many.Dirs = append(many.Dirs, fmt.Sprintf("%04d/%s", n, strings.Repeat("n", maxPath-5)))
	}
	want := []treewatch.Event{
		{Ready: true}, {Dirs: []string{"."}}, {Dirs: []string{".", ".git", "a", "a/\xff\n"}}, {All: true},
		{Ready: true, All: true, Reason: "the limit fs.inotify.max_user_watches, 8192, is reached", Dirs: []string{"a"}}, many, many, {},
	}
	var b bytes.Buffer
	for _, e := range want {
		must(t, WriteEvent(&b, e))
	}
	got, err := readEvents(b.Bytes())
	if diff := gocmp.Diff(want, got); diff != "" || !errors.Is(err, ErrCut) {
		t.Errorf("%v\n%.1000s", err, diff)
	}
	must(t, WriteEvent(&b, treewatch.Event{Reason: strings.Repeat("r", 10_000)}))
	if got, err = readEvents(b.Bytes()); len(got) != len(want)+1 {
		t.Errorf("with a long reason: %d events, %v", len(got), err)
	}
	enough := errors.New("enough")
	if err := ReadEvents(&b, func(treewatch.Event) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// dirs are an event with these directories.
func dirs(names ...string) []byte {
	b := binary.AppendUvarint([]byte{0, 0}, uint64(len(names)))
	for _, name := range names {
		b = appendText(b, name)
	}
	return b
}

func reason(text string) []byte { return append(appendText([]byte{flagAll}, text), 0) }

// hostileEvents are those that no agent writes, and what is said of each.
var hostileEvents = map[string]struct {
	sent []byte
	want string
}{
	"nothing":            {nil, ErrCut.Error()},
	"half an event":      {[]byte{flagReady, 0}, ErrCut.Error()},
	"unknown flags":      {[]byte{4, 0, 0}, "a number is 4, which is more than 3"},
	"upwards":            {dirs(".."), "..: it leads outside the directory"},
	"further up":         {dirs("a/../.."), "a/../..: it leads outside the directory"},
	"absolute":           {dirs("/etc"), "/etc: it leads outside the directory"},
	"a longer form":      {dirs("a//b"), "a//b: it is not in its shortest form"},
	"the top again":      {dirs("./"), "./: it is not in its shortest form"},
	"a NUL":              {dirs("a\x00"), `"a\x00": it contains a NUL byte`},
	"no name":            {dirs(""), "a name is empty"},
	"twice":              {dirs("a", "a"), "a comes after a"},
	"another order":      {dirs("b", "a"), "a comes after b"},
	"the top, later":     {dirs("a", "."), ". comes after a"},
	"a long path":        {dirs(strings.Repeat("n", maxPath+1)), "a number is 4096"},
	"many":               {binary.AppendUvarint([]byte{0, 0}, treewatch.MaxDirs+1), "a number is 4097, which is more than 4096"},
	"no number":          {append([]byte{0, 0}, number...), "overflows"},
	"a long reason":      {reason(strings.Repeat("r", maxReason+1)), "a number is 401, which is more than 400"},
	"a line to type":     {reason("full\nbanger vm delete x"), `a reason is not a text: "full\nbanger vm delete x"`},
	"a terminal's code":  {reason("\x1b[2J"), `a reason is not a text: "\x1b[2J"`},
	"from right to left": {reason("\u202ex"), "a reason is not a text"},
	"no text":            {reason("\xff"), "a reason is not a text"},
}

func TestHostileEvents(t *testing.T) {
	for name, c := range hostileEvents {
		all, err := readEvents(c.sent)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n\x00\x1b") || len(all) > 0 {
			t.Errorf("%s: %d events, %v\nwant %s", name, len(all), err, c.want)
		}
		if cut := c.want == ErrCut.Error(); cut != errors.Is(err, ErrCut) || !cut && api.KindOf(err) != api.KindInternal {
			t.Errorf("%s: %v is of kind %s", name, err, api.KindOf(err))
		}
	}
}

// FuzzReadEvents reads anything. What is read can be written again.
func FuzzReadEvents(f *testing.F) {
	for _, c := range hostileEvents {
		f.Add(c.sent)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		all, err := readEvents(sent)
		if err == nil {
			t.Fatal("the list of events does not end")
		}
		var b bytes.Buffer
		for _, e := range all {
			must(t, WriteEvent(&b, e))
		}
		if again, _ := readEvents(b.Bytes()); !gocmp.Equal(again, all) {
			t.Errorf("read %+v, again %+v", all, again)
		}
	})
}
