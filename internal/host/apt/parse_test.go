package apt

import (
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePackages(t *testing.T) {
	got := parsePackages("Package: a\nVersion: 1:2\nSize: 30\nDepends: kmod, x (= 2)\nDescription: x\n Version: no\n\nPackage: b\nVersion: 2\n\nPackage: virtual\n\n")
	if !reflect.DeepEqual(got, []Package{{"a", "1:2", 30, []string{"kmod", "x"}}, {"b", "2", 0, nil}}) {
		t.Errorf("it read %+v", got)
	}
}

func TestParseDepends(t *testing.T) {
	const stanza = "Package: a\nPre-Depends: p (>= 1)\nDepends: linux-image-6.1.0-37-cloud-amd64 (= 6.1), x:any | y,\n z\nRecommends: no\n"
	want := []string{"p", "linux-image-6.1.0-37-cloud-amd64", "x", "z"}
	if diff := cmp.Diff(want, parseDepends(stanza)); diff != "" {
		t.Error(diff)
	}
}

func TestParseURIs(t *testing.T) {
	got, err := parseURIs("NOTE: hello\n'http://apt.example.org/pool/a_1_all.deb' a_1_all.deb 1504 SHA256:00\n")
	if err != nil || len(got) != 1 || got[0] != (archive{"a_1_all.deb", 1504}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "'x'", "'x' ../a 1 h", "'x' .. 1 h", "'x' a -1 h", "'x' a many h"} {
		if got, err := parseURIs(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for line, want := range map[string]float64{
		"dlstatus:1:12.5:Retrieving file 1 of 2": 12.5,
		"dlstatus:1:100.0000:":                   100, "pmstatus:x:1:y": -1, "dlstatus:1:NaN:": -1, "dlstatus:1:-3:": -1, "dlstatus": -1,
	} {
		got, ok := parseStatus(line)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}

func TestParseAcquire(t *testing.T) {
	const dump = `Acquire "";
Acquire::http::Proxy "http://proxy.example.org:3128";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
Acquire::IndexTargets::deb::DEP-11 "";
Acquire::IndexTargets::deb::DEP-11::MetaKey "x";
Acquire::IndexTargets::deb::Packages "";
APT::Architecture "amd64";
`
	want := []string{`Acquire::http::Proxy "http://proxy.example.org:3128";`, `Acquire::Check-Valid-Until "false";`}
	if diff := cmp.Diff(want, parseAcquire(dump)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"DEP-11"}, parseTargets(dump)); diff != "" {
		t.Error(diff)
	}
}

func TestParseTargetList(t *testing.T) {
	files := map[string]string{
		"/etc/apt/sources.list.d/debian.sources": "# ours\nTypes: deb\nURIs: http://deb.example.org/debian\nSuites: stable stable-updates\nComponents: main\nSigned-By:\n -----BEGIN-----\n .\n key\n\nTypes: deb\nURIs: http://other.example.org\nSuites: stable\nSigned-By: /wrong.gpg\n",
		"/etc/apt/sources.list":                  "deb-src [signed-by=/no.gpg] http://sec.example.org stable-security main\ndeb [arch=amd64 signed-by=/keys/sec.gpg] http://sec.example.org stable-security main\n",
	}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, errors.Join(os.ErrNotExist)
	}
	out := "Debian\thttp://deb.example.org/debian/\tstable\tbookworm\tmain\t/etc/apt/sources.list.d/debian.sources:1\n" +
		"Debian\thttp://deb.example.org/debian/\tstable\tbookworm\tcontrib\t/etc/apt/sources.list.d/debian.sources:1\n" +
		"Debian\thttp://sec.example.org/\tstable-security\tbookworm-security\tmain\t/etc/apt/sources.list:2\n" +
		"Ubuntu\thttp://u.example.org/\tnoble\tnoble\tmain\t/gone:1\n" +
		"Vendor\thttp://vendor.example.org/\tx\tx\tmain\t/etc/apt/sources.list:3\nbroken line\n"
	want := []Source{
		{"Debian", "http://deb.example.org/debian/", "stable", "bookworm", []string{"main", "contrib"}, "-----BEGIN-----\n.\nkey"},
		{"Debian", "http://sec.example.org/", "stable-security", "bookworm-security", []string{"main"}, "/keys/sec.gpg"},
		{"Ubuntu", "http://u.example.org/", "noble", "noble", []string{"main"}, ""},
	}
	if diff := cmp.Diff(want, parseTargetList(out, read)); diff != "" {
		t.Error(diff)
	}
	const text = "Types: deb\nURIs: u\nSuites: s\nComponents: main\nSigned-By: -----BEGIN-----\n .\n key\n\n"
	if diff := cmp.Diff(text, Deb822([]Source{{URI: "u", Suite: "s", Components: []string{"main"}, SignedBy: want[0].SignedBy}})); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("'u' a_1.deb 5 SHA256:0\n")
	f.Add("Debian\tu\ts\tc\tmain\t/etc/apt/sources.list:1\n")
	f.Add("deb [signed-by=/k] u s main\nURIs: u\nSuites: s\n x")
	f.Fuzz(func(t *testing.T, s string) {
		read := func(string) ([]byte, error) { return []byte(s), nil }
		_, _ = parseURIs(s)
		parseDepends(s)
		parseAcquire(s)
		parseTargets(s)
		parseStatus(s)
		for _, source := range parseTargetList(s, read) {
			findSignedBy("x.sources", s, source)
		}
	})
}
