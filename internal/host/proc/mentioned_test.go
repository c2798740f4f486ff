package proc

import (
	"maps"
	"os/exec"
	"slices"
	"testing"
)

func digit(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func TestAddWords(t *testing.T) {
	words := map[string]bool{}
	addWords(words, []byte("qemu\x00guest=banger-0123456789ab,process=x\x00/vms/ffffffffffff/console\x00eeeeeeeeeeeee 1234\x00111111111111"), 12, digit)
	if got := slices.Sorted(maps.Keys(words)); !slices.Equal(got, []string{"0123456789ab", "111111111111", "ffffffffffff"}) {
		t.Errorf("%q", got)
	}
}

// TestMentioned finds a process by a word in its command line, and no other.
func TestMentioned(t *testing.T) {
	c := exec.CommandContext(t.Context(), "sh", "-c", "read x", "id=0badc0ffee42")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	words, err := Mentioned(12, digit)
	if err != nil || !words["0badc0ffee42"] || words["0badc0ffee43"] {
		t.Errorf("%d words, %v", len(words), err)
	}
	in.Close()
	_ = c.Wait() // read fails at the end of its input
}
