package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
)

// hostilePlaced are answers to a file and a removal that no agent gives, and what is said of each.
var hostilePlaced = map[string]struct {
	answer []byte
	want   string
}{
	"nothing":             {nil, ErrCut.Error()},
	"one answer":          {[]byte{answerOther}, ErrCut.Error()},
	"three answers":       {[]byte{answerOther, answerOther, answerOther}, "something follows the end"},
	"an unknown answer":   {[]byte{9}, "the answer to a change is of kind 9"},
	"unmade":              {[]byte{answerUnmade}, "the answer to a change is of kind 3"},
	"no error of Linux":   {[]byte{answerRefused, 0x80, 0x20}, "a number is 4096"},
	"no error":            {[]byte{answerRefused, 0}, "the number of an error is 0"},
	"no attributes":       {[]byte{answerMade}, ErrCut.Error()},
	"half of them":        {[]byte{answerMade, 0, 0}, ErrCut.Error()},
	"a mode of more bits": {[]byte{answerMade, 0x80, 0x20}, "a number is 4096"},
	"a negative size":     {append([]byte{answerMade, 0}, binary.AppendUvarint(nil, 1<<63)...), "a number is 9223372036854775808"},
	"no number":           {append([]byte{answerMade}, number...), "overflows"},
}

// answered reads answers to a file and a removal.
func answered(answer []byte) (all []Placed, err error) {
	c := NewChanges()
	if err := c.Send(io.Discard, func(yield func(Change) bool) {
		_ = yield(toFile("a", Entry{}, "x")) && yield(Change{Path: "b", Expect: Entry{Type: File}})
	}); err != nil {
		return nil, err
	}
	err = c.Receive(bytes.NewReader(answer), func(p Placed) error {
		all = append(all, p)
		return nil
	})
	return all, err
}

func TestHostilePlaced(t *testing.T) {
	for name, c := range hostilePlaced {
		all, err := answered(c.answer)
		if err == nil || !strings.Contains(err.Error(), c.want) || (c.want == ErrCut.Error()) != errors.Is(err, ErrCut) {
			t.Errorf("%s: got %v\nwant %s", name, err, c.want)
		}
		for _, p := range all {
			if p.Err == nil {
				t.Errorf("%s: %s counts as placed", name, p.Path)
			}
		}
	}
}

// TestAnswersToWhatWasNotSent: a content that could not be read is never placed.
func TestAnswersToWhatWasNotSent(t *testing.T) {
	for answer, want := range map[byte]string{
		answerUnmade: "cannot read a: it became shorter meanwhile", answerOther: "cannot read a: it became shorter meanwhile",
		answerMade: "the answer to a change is of kind 1",
	} {
		c := NewChanges()
		short := toFile("a", Entry{}, "xyz")
		short.Size++
		must(t, c.Send(io.Discard, func(yield func(Change) bool) { yield(short) }))
		err := c.Receive(bytes.NewReader([]byte{answer, 0, 0, 0, 0, 0}[:map[bool]int{true: 6, false: 1}[answer == answerMade]]), func(p Placed) error { return p.Err })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("answer %d: %v", answer, err)
		}
	}
}

// hostileChanges are requests that no host makes.
var hostileChanges = map[string][]byte{
	"upwards":            appendChange(nil, toLink("../x", Entry{}, "x")),
	"absolute":           appendChange(nil, toLink("/tmp/x", Entry{}, "x")),
	"a NUL":              appendChange(nil, toLink("a\x00", Entry{}, "x")),
	"a temporary":        appendChange(nil, toLink(newTemporary().name, Entry{}, "x")),
	"a directory":        appendChange(nil, Change{Path: "a", Type: Dir}),
	"nothing":            appendChange(nil, Change{Path: "a"}),
	"a type":             append(appendText(nil, "a"), 7),
	"more than its size": append(appendChange(nil, Change{Path: "a", Type: File}), 1, 'x', 0, endingWhole),
	"a long content":     append(appendChange(nil, Change{Path: "a", Type: File, Size: math.MaxInt64}), 1, 'x'),
	"no target":          append(appendText(nil, "a"), 0, kindLink, 0),
	"a NUL in one":       appendChange(nil, toLink("a", Entry{}, "x\x00")),
}

func TestHostileChanges(t *testing.T) {
	for name, request := range hostileChanges {
		top := t.TempDir()
		dir := filepath.Join(top, "dir")
		must(t, os.Mkdir(dir, 0o755))
		if err := Place(t.Context(), bytes.NewReader(request), io.Discard, dir); err == nil {
			t.Errorf("%s: it is accepted", name)
		}
		checkTree(t, top, "\"dir\" dir\n")
	}
}

// FuzzPlaced reads any answer.
func FuzzPlaced(f *testing.F) {
	for _, c := range hostilePlaced {
		f.Add(c.answer)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		all, err := answered(answer)
		if len(all) > 2 || err == nil && len(all) != 2 {
			t.Fatalf("%d answers, %v", len(all), err)
		}
		for _, p := range all {
			if (p.Err == nil && p.Path == "a") != (p.Entry.Type == File) || p.Err != nil && p.Entry != (Entry{}) {
				t.Fatalf("%+v", p)
			}
			if p.Err != nil && api.KindOf(p.Err) == "" {
				t.Fatalf("%v has no kind", p.Err)
			}
		}
	})
}

// FuzzPlace makes any changes. None is elsewhere, and nothing is left of one that fails.
func FuzzPlace(f *testing.F) {
	for _, request := range hostileChanges {
		f.Add(request)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "dir")
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(top, "file"), []byte("own"), 0o600))
		must(t, os.Symlink("..", filepath.Join(dir, "link")))
		_ = Place(t.Context(), bytes.NewReader(request), io.Discard, dir)
		list, err := os.ReadDir(top)
		must(t, err)
		text, err := os.ReadFile(filepath.Join(top, "file"))
		if err != nil || len(list) != 2 || string(text) != "own" {
			t.Fatalf("%v, %q, %v", list, text, err)
		}
		must(t, filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
			if isTemporary(filepath.Base(name)) {
				t.Errorf("%s is left", name)
			}
			return err
		}))
	})
}
