package label

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"banger/api"
)

func TestParse(t *testing.T) {
	c, err := Parse([]string{"team=web", "a/b.c_d=x=y z", "empty=", "old-", "x-y-"})
	want := map[string]string{"team": "web", "a/b.c_d": "x=y z", "empty": ""}
	if err != nil || !maps.Equal(c.Set, want) || strings.Join(c.Remove, " ") != "old x-y" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range [][]string{
		{""}, {"="}, {"=v"}, {"-"}, {"k"}, {"-k=v"}, {"k-=v"}, {".k=v"}, {"k/=v"}, {"k k=v"}, {"ü=v"}, {"k\n=v"},
		{strings.Repeat("k", 64) + "=v"}, {"k=" + strings.Repeat("v", 256)}, {"k=a\nb"}, {"k=\x1b[2J"}, {"k=\xff"}, {"k=\u202e"},
		{"k=1", "k=2"}, {"k=1", "k-"}, {"k-", "k-"},
	} {
		if c, err := Parse(bad); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %+v, %v", bad, c, err)
		}
	}
	if _, err := Parse([]string{strings.Repeat("k", 63) + "=" + strings.Repeat("v", 255)}); err != nil {
		t.Error(err)
	}
}

// TestApply: the labels that were there stay as they are, for those who read them.
func TestApply(t *testing.T) {
	has := map[string]string{"a": "1", "b": "2"}
	got, err := Apply(has, map[string]string{"c": "3"}, []string{"a", "none"})
	if err != nil || !maps.Equal(got, map[string]string{"b": "2", "c": "3"}) || len(has) != 2 {
		t.Errorf("%v of %v, %v", got, has, err)
	}
	if got, err := Apply(has, nil, []string{"a", "b"}); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Apply(has, map[string]string{"a": "3"}, []string{"a"}); api.KindOf(err) != api.KindInvalid {
		t.Error(err)
	}
	many := map[string]string{}
	for i := range maxCount {
		many[fmt.Sprint(i)] = ""
	}
	if got, err := Apply(nil, many, nil); err != nil || len(got) != maxCount {
		t.Error(err)
	}
	if _, err := Apply(has, many, nil); api.KindOf(err) != api.KindInvalid {
		t.Errorf("too many: %v", err)
	}
	if got := Text(has); got != "a=1, b=2" {
		t.Error(got)
	}
}
