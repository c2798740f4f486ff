package size

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"4G": 4 * GiB, "4g": 4 * GiB, "4GiB": 4 * GiB, "4 GiB": 4 * GiB, "4Gi": 4 * GiB,
		"512MiB": 512 * MiB, "512m": 512 * MiB, "1.5G": GiB + GiB/2, "1K": KiB, "2T": 2 * TiB,
		" 1G ": GiB,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "empty",
		"512":                    `"512" has no unit: use 512M or 512G`,
		"0":                      "is zero",
		"-1G":                    "negative",
		"0G":                     "is zero",
		"0.000001K":              "is zero",
		"4GB":                    "is ambiguous: use 4GiB",
		"4X":                     "is not a valid size",
		"G":                      "is not a valid size",
		"1e9G":                   "is not a valid size",
		"999999999T":             "is too large",
		"4 G G":                  "is not a valid size",
		"NaNG":                   "is not a valid size",
		strings.Repeat("9", 999): "no unit",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.20q) = %v; want %q in it", text, err, want)
		} else if len(err.Error()) > 250 {
			t.Errorf("Parse(%.20q): the error has %d bytes", text, len(err.Error()))
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", KiB: "1 KiB", 1536 * KiB: "1.5 MiB", 512 * MiB: "512 MiB",
		8 * GiB: "8 GiB", GiB - 1: "1 GiB", -MiB: "-1 MiB", 3*GiB + 300*MiB: "3.3 GiB",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q; want %q", n, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"4G", "512MiB", "1.5g", "-1G", "9223372036854775807T", "0", "4GB", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			return
		}
		if n < 1 {
			t.Fatalf("Parse(%q) = %d", text, n)
		}
		if again, err := Parse(Exact(n)); n%KiB == 0 && (err != nil || again > n || n-again > n>>50) {
			t.Fatalf("Exact(%d) = %q reads %d, %v", n, Exact(n), again, err)
		}
		Format(n)
	})
}
