package release

import (
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	for v, valid := range map[string]bool{
		"v1.2.3": true, "v0.0.0": true, "v1.2.3-rc.1": true, "v999999.0.1": true,
		"": false, "1.2.3": false, "v1.2": false, "v01.2.3": false, "v1.2.3+meta": false, "v1.2.3-": false,
		"v1.2.3/../x": false, "v1.2.3-a..b": false, "v1.2.3\n": false, "dev": false, "v1000000.0.0": false, "v1.2.3-01": false,
	} {
		if ValidVersion(v) != valid {
			t.Errorf("%q: %v", v, !valid)
		}
	}
	if Compare("v1.2.3-rc.1", "v1.2.3") >= 0 || Compare("v1.10.0", "v1.9.9") <= 0 {
		t.Error("versions are compared as text")
	}
}

func TestParseInfo(t *testing.T) {
	const good = `{"version":"v1.2.3","commit":"abc","built_at":"2026-01-02T03:04:05Z","platform":"linux/amd64","downgrade_from":["v1.3.0"]}`
	i, err := ParseInfo([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for installed, may := range map[string]bool{"v1.2.2": true, "v1.2.3": true, "v1.3.0": true, "v1.3.1": false} {
		if i.MayReplace(installed) != may {
			t.Errorf("from %s: %v", installed, !may)
		}
	}
	for _, bad := range []string{"", "null", "[]", "{",
		strings.Replace(good, "v1.2.3", "1.2.3", 1), strings.Replace(good, "linux/amd64", "plan9/mips", 1),
		strings.Replace(good, `"abc"`, `""`, 1), strings.Replace(good, "2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z", 1),
		strings.Replace(good, "v1.3.0", "newer", 1),
	} {
		if _, err := ParseInfo([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
