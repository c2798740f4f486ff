package proc

import (
	"slices"
	"strings"
	"testing"
)

// statLine is a whole line of /proc/PID/stat with a chosen name.
func statLine(comm string) string {
	return "4711 (" + comm + ") S 1 4711 4711 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 4 0 987654 1000000 500 " +
		strings.Repeat("0 ", 27) + "0\n"
}

func TestParseStat(t *testing.T) {
	for name, comm := range map[string]string{
		"plain":                "qemu",
		"spaces":               "a b c",
		"parentheses":          "a) R 1 2 3 (b",
		"only a parenthesis":   ")",
		"empty":                "",
		"line break and bytes": "a\n\xff) (",
	} {
		got, err := parseStat([]byte(statLine(comm)))
		if err != nil || got != (stat{state: 'S', startTime: 987654}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestParseStatRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"empty":        "",
		"no name":      "4711 S 1 2 3",
		"cut short":    "4711 (qemu) S 1 4711",
		"no number":    strings.Replace(statLine("x"), "987654", "soon", 1),
		"negative":     strings.Replace(statLine("x"), "987654", "-1", 1),
		"state absent": strings.Replace(statLine("x"), ") S", ") SS", 1),
	} {
		if got, err := parseStat([]byte(line)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestParseStatOfTooFewFields: the start time is field 22.
func TestParseStatOfTooFewFields(t *testing.T) {
	line := "4711 (qemu) S" + strings.Repeat(" 1", 18)
	if got, err := parseStat([]byte(line)); err == nil || !strings.HasPrefix(err.Error(), "only 21 fields") {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseStat([]byte(line + " 9")); err != nil || got.startTime != 9 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseCmdline(t *testing.T) {
	for data, want := range map[string][]string{
		"":               nil,
		"\x00":           nil,
		"a\x00b\x00":     {"a", "b"},
		"a\x00\x00b\x00": {"a", "", "b"},
		"no last NUL":    {"no last NUL"},
		// What may have been cut off is left out.
		strings.Repeat("x", MaxCmdline):                         nil,
		"a\x00" + strings.Repeat("x", MaxCmdline-2):             {"a"},
		"a\x00" + strings.Repeat("x", MaxCmdline-3):             {"a", strings.Repeat("x", MaxCmdline-3)},
		"a\x00" + strings.Repeat("x", MaxCmdline-3) + "\x00":    {"a", strings.Repeat("x", MaxCmdline-3)},
		"a\x00" + strings.Repeat("x", MaxCmdline) + "\x00b\x00": {"a"},
	} {
		if got := parseCmdline([]byte(data), nil); !slices.Equal(got, want) {
			t.Errorf("%.40q, %d bytes: %.40q, want %.40q", data, len(data), got, want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine("a) (b")))
	f.Add([]byte(")))"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseStat(data)
		if err != nil && got != (stat{}) {
			t.Errorf("error with a result: %+v, %v", got, err)
		}
	})
}

func FuzzParseCmdline(f *testing.F) {
	f.Add([]byte("a\x00b\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		args := parseCmdline(data, nil)
		joined := strings.Join(args, "\x00")
		whole := string(data)
		if len(data) >= MaxCmdline {
			whole = whole[:strings.LastIndexByte(whole[:MaxCmdline], 0)+1]
		}
		if joined != strings.TrimSuffix(whole, "\x00") {
			t.Errorf("%q became %q", data, args)
		}
	})
}
