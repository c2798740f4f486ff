package driver

import (
	"errors"
	"strings"
	"testing"
)

func TestSearchDomains(t *testing.T) {
	for text, want := range map[string]string{
		"nameserver 1.1.1.1\nsearch corp.example b.example.\n": "corp.example,b.example",
		"search a\ndomain b\n":                                 "b",
		"search .\n":                                           "",
		"search bad/name ok\n":                                 "ok",
		"search a b c d e f g h\n":                             "a,b,c,d,e,f",
		"search " + strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + " " + strings.Repeat("c", 63) + "." + strings.Repeat("d", 63) + " e": strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "," + strings.Repeat("c", 63) + "." + strings.Repeat("d", 63),
		"": "",
	} {
		if got := SearchDomains(func(string) ([]byte, error) { return []byte(text), nil }); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := SearchDomains(func(string) ([]byte, error) { return nil, errors.New("none") }); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestResolversWithoutIPv4(t *testing.T) {
	for text, want := range map[string]bool{
		"nameserver ::1\n": true, "nameserver fe80::1%eth0\nnameserver 2001:db8::53\n": true,
		"nameserver ::1\nnameserver 192.0.2.1\n": false, "": false, "search a\n": false, "nameserver x\n": false,
	} {
		if got := ResolversWithoutIPv4(func(string) ([]byte, error) { return []byte(text), nil }); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
