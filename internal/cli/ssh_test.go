package cli

import (
	"os/exec"
	"testing"
)

func TestVMOfHost(t *testing.T) {
	for host, want := range map[string]string{
		"dev.banger": "dev", "dev": "dev", "[dev.banger]:2222": "dev", "a.b.banger": "a.b", "[dev.banger": "dev", "": "",
	} {
		if got := vmOfHost(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

// TestSSHQuote: the shell, which runs ProxyCommand, sees the word; ssh has made one
// percent sign of two.
func TestSSHQuote(t *testing.T) {
	for word, quoted := range map[string]string{
		"/usr/bin/banger": "/usr/bin/banger", "/home/it's me/banger": `'/home/it'\''s me/banger'`, "/a$b": "'/a$b'", "50%": "50%%",
	} {
		got := sshQuote(word)
		if got != quoted {
			t.Errorf("%q: %s", word, got)
		}
		if out, err := exec.Command("sh", "-c", "printf %s "+got).Output(); word != "50%" && (err != nil || string(out) != word) {
			t.Errorf("%q: the shell has %q, %v", word, out, err)
		}
	}
}
