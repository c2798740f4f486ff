package execx

import (
	"os/exec"
	"testing"
)

// TestWord: a shell reads each word as it was.
func TestWord(t *testing.T) {
	for word, want := range map[string]string{
		"plain": "plain", "/a/b-c_d.e:f@g,h+i=j%k^": "/a/b-c_d.e:f@g,h+i=j%k^", "ä": "ä",
		"": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(id)": "'$(id)'", "a\nb": "'a\nb'", "#x": "'#x'", "u#main": "'u#main'", `"\`: `'"\'`, "*": "'*'",
	} {
		got := Word(word)
		out, err := exec.Command("sh", "-c", "printf %s "+got).Output()
		if got != want || err != nil || string(out) != word {
			t.Errorf("%q is %s, want %s; a shell reads %q, %v", word, got, want, out, err)
		}
	}
}
