package sshconfig

import (
	"bytes"
	"testing"
)

// FuzzTake: what put put in, take takes out, byte for byte.
func FuzzTake(f *testing.F) {
	f.Add([]byte("Host *\n\tUser me"))
	f.Add(put([]byte("Host a\r\n"), "/home/me/.ssh/banger_config", false))
	f.Add([]byte(begin + end))
	f.Add([]byte(begin + "Include x\n" + end + begin + "Include x\n" + end))
	f.Fuzz(func(t *testing.T, config []byte) {
		parts, err := take(config)
		if err != nil {
			return
		}
		if !parts.there && !bytes.Equal(parts.rest, config) {
			t.Fatalf("%q became %q", config, parts.rest)
		}
		for _, made := range []bool{false, true} {
			again, err := take(put(parts.rest, "/home/me/.ssh/banger_config", made))
			if err != nil && len(parts.rest) < maxConfig-1024 {
				t.Fatalf("%q: %v", parts.rest, err)
			}
			if err == nil && (!again.there || again.made != made || !bytes.Equal(again.rest, parts.rest)) {
				t.Fatalf("%q became %q", parts.rest, again.rest)
			}
		}
	})
}

func TestTakeRefuses(t *testing.T) {
	for name, config := range map[string]string{
		"half a fence":       begin + "Include \"x\"\n",
		"something within":   begin + "Include \"x\"\nHost *\n" + end,
		"an end alone":       "Host a\n" + end,
		"two":                string(put(put(nil, "/x", false), "/x", false)),
		"another line break": "# BEGIN banger\r\nInclude \"x\"\r\n# END banger\r\n",
		"a zero byte":        "Host a\x00\n",
	} {
		if _, err := take([]byte(config)); err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
}
