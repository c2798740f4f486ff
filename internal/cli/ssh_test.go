package cli

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"banger/api"
)

func TestVMOfHost(t *testing.T) {
	for host, want := range map[string]string{
		"dev.banger": "dev", "dev.vm": "dev", "[dev.vm]:22": "dev", "vm.banger": "vm", "vm": "vm", "dev": "dev", "[dev.banger]:2222": "dev", "a.b.banger": "a.b", "[dev.banger": "dev", "": "",
	} {
		if got := vmOfHost(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

// TestSSHToARenamedVM: ssh's connection goes on in its VM.
func TestSSHToARenamedVM(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	w.HandleFunc("GET /v1/vms/{vm}/ssh", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, api.SSHAccess{Name: r.PathValue("vm"), HostKey: make([]byte, ed25519.SeedSize)})
	})
	cmd := self(t, "vm", "ssh-proxy", "dev.banger")
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	server := bufio.NewReader(out)
	if line, err := server.ReadString('\n'); err != nil || !strings.HasPrefix(line, "SSH-2.0-") {
		t.Errorf("the server says %q, %v", line, err)
	}
	w.rename("web")
	_, _ = io.WriteString(in, "SSH-2.0-test\r\n")
	if _, err := server.ReadByte(); err != nil { // its part of the key exchange (RFC 4253, 7.1)
		t.Errorf("after the VM was renamed: %v", err)
	}
	if err := errors.Join(cmd.Process.Signal(syscall.SIGHUP), cmd.Wait()); err != nil { // so ssh ends it
		t.Errorf("ended with %v", err)
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
