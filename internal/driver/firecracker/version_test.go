package firecracker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

func TestParseVersion(t *testing.T) {
	for output, want := range map[string]string{
		"Firecracker v1.14.2\n\n2026-11-24T14:00:14 [anonymous-instance:main] Firecracker exiting successfully. exit_code=0\n": "1.14.2",
		"Firecracker v1.16.1":                            "1.16.1",
		"Firecracker v1.17.0-dev\r\n":                    "1.17.0-dev",
		"Firecracker v1.17.0+fuzzing\n":                  "1.17.0+fuzzing",
		"Jailer v1.0.0-44-gc73a27cb-dirty\n\n":           "",
		"Firecracker 1.14.2\n":                           "",
		"Firecracker v1.14\n":                            "",
		"Firecracker v1.14.2 \n":                         "",
		"Firecracker v1.14.2 oops\n":                     "",
		"Firecracker v1.14.2oops\n":                      "",
		" Firecracker v1.14.2\n":                         "",
		"\nFirecracker v1.14.2\n":                        "",
		"firecracker v1.14.2\n":                          "",
		"Firecracker v-1.14.2\n":                         "",
		"Firecracker v1.14.999999\n":                     "",
		"Firecracker v1.14.2-" + strings.Repeat("x", 65): "",
		"":        "",
		"\x7fELF": "",
	} {
		got, err := ParseVersion(Firecracker, output)
		if err == nil && got.String() != want || err != nil && want != "" {
			t.Errorf("%q: %v, %v", output, got, err)
		}
		if err != nil && (api.KindOf(err) != api.KindUnsupported || api.AsError(err).Hint == "") {
			t.Errorf("%q: %v has no hint", output, err)
		}
	}
	got, err := ParseVersion(Jailer, "Jailer v1.0.0-44-gc73a27cb-dirty\n\n")
	if want := (Version{1, 0, 0, "-44-gc73a27cb-dirty"}); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add("Firecracker v1.14.2\n")
	f.Fuzz(func(t *testing.T, output string) {
		v, err := ParseVersion(Firecracker, output)
		if err != nil {
			return
		}
		again, err := ParseVersion(Firecracker, "Firecracker v"+v.String())
		if err != nil || again.Compare(v) != 0 || again.Suffix != v.Suffix {
			t.Errorf("%q is %v, which is %v, %v", output, v, again, err)
		}
	})
}

func TestCheckVersions(t *testing.T) {
	for _, c := range []struct {
		firecracker, jailer Version
		refused             string
		warned              []string // a word of each warning
	}{
		{v(1, 17, 0), v(1, 17, 0), "", nil},
		{v(1, 16, 1), v(1, 16, 1), "", []string{"paused and resumed"}},
		{v(1, 14, 2), Version{1, 0, 0, "-44-gc73a27cb-dirty"}, "", []string{"CVE-2026-1386", "CVE-2026-5747", "fixes of 1.16.0", "different releases"}},
		{v(1, 14, 4), v(1, 14, 4), "", []string{"fixes of 1.16.0"}},
		{v(1, 15, 0), v(1, 15, 0), "", []string{"CVE-2026-5747", "fixes of 1.16.0"}},
		{v(1, 15, 1), v(1, 15, 1), "", []string{"fixes of 1.16.0"}},
		{v(1, 14, 0), v(1, 14, 0), "", []string{"CVE-2026-1386", "CVE-2026-5747", "fixes of 1.16.0"}},
		{v(1, 13, 2), v(1, 13, 2), "", []string{"CVE-2026-5747", "fixes of 1.16.0"}},
		{v(1, 8, 0), v(1, 8, 0), "", []string{"CVE-2026-1386", "fixes of 1.16.0"}},
		{v(1, 7, 9), v(1, 16, 0), "ACPI", nil},
		{v(0, 25, 0), v(0, 25, 0), "ACPI", nil},
		{v(1, 16, 0), v(0, 25, 0), "older than 1.0", nil},
		{v(2, 0, 0), v(2, 0, 0), "", nil},
	} {
		name := c.firecracker.String() + " with jailer " + c.jailer.String()
		warnings, err := CheckVersions(c.firecracker, c.jailer)
		if (err != nil) != (c.refused != "") || err != nil && (!strings.Contains(err.Error(), c.refused) || !strings.HasPrefix(api.AsError(err).Hint, Get+" ")) {
			t.Errorf("%s: %v", name, err)
		}
		if len(warnings) != len(c.warned) {
			t.Errorf("%s: %s", name, cmp.Diff(c.warned, warnings))
			continue
		}
		for i, word := range c.warned {
			if !strings.Contains(warnings[i], word) {
				t.Errorf("%s: %q does not speak of %s", name, warnings[i], word)
			}
		}
	}
}

// TestCanPause: only the versions whose guests hang after it are refused.
func TestCanPause(t *testing.T) {
	for version, can := range map[string]bool{
		"1.8.0": true, "1.14.2": true, "1.15.1": true, "1.16.0": false, "1.16.3": false, "1.17.0-dev": true, "2.0.0": true, "": false, "new": false,
	} {
		err := CanPause(version)
		if (err == nil) != can || err != nil && api.KindOf(err) != api.KindUnsupported {
			t.Errorf("%q: %v", version, err)
		}
	}
}
