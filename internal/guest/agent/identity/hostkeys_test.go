package identity

import (
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"banger/internal/guest/agentproto"
)

// checkKey reads a key as sshd does, and compares it with the public one.
func checkKey(t *testing.T, o Options, kind, want string) {
	t.Helper()
	path := "etc/ssh/ssh_host_" + kind + "_key"
	signer, err := ssh.ParsePrivateKey([]byte(o.read(path)))
	if err != nil {
		t.Fatal(kind, err)
	}
	public, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(o.read(path + ".pub")))
	if err != nil || signer.PublicKey().Type() != want || comment != "root@child" || string(public.Marshal()) != string(signer.PublicKey().Marshal()) {
		t.Errorf("%s: %v, %q, %v", kind, signer.PublicKey().Type(), comment, err)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, path + ".pub": 0o644} {
		if info, err := os.Stat(filepath.Join(o.Root, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestHostKeys(t *testing.T) {
	o, _ := tree(t, map[string]string{
		"usr/sbin/sshd": "", "etc/ssh/ssh_host_ed25519_key": "old", "etc/ssh/ssh_host_ed25519_key.pub": "old",
		"etc/ssh/ssh_host_ecdsa_key": "old", "etc/ssh/ssh_host_rsa_key": "old", "etc/ssh/sshd_config": "mine",
	})
	step, later := o.hostKeys("child")
	if step.State != agentproto.StepDone || step.Detail != "ecdsa, ed25519, rsa follows" {
		t.Errorf("%+v", step)
	}
	checkKey(t, o, "ed25519", "ssh-ed25519")
	checkKey(t, o, "ecdsa", "ecdsa-sha2-nistp256")
	if o.read("etc/ssh/ssh_host_rsa_key") != "old" {
		t.Error("RSA was not left for later")
	}
	later()
	checkKey(t, o, "rsa", "ssh-rsa")
	first := o.read("etc/ssh/ssh_host_ed25519_key")
	o.hostKeys("child")
	if o.read("etc/ssh/ssh_host_ed25519_key") == first {
		t.Error("two copies have the same key")
	}
	entries, err := os.ReadDir(filepath.Join(o.Root, "etc/ssh"))
	if err != nil || len(entries) != 7 || o.read("etc/ssh/sshd_config") != "mine" {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestHostKeysStay: without sshd, without keys, and where a new key cannot be made.
func TestHostKeysStay(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no sshd": {"etc/ssh/ssh_host_ed25519_key": "old"}, "no keys": {"usr/sbin/sshd": ""},
	} {
		o, _ := tree(t, files)
		if step, later := o.hostKeys("child"); step.State != agentproto.StepSkipped || later != nil {
			t.Errorf("%s: %+v", name, step)
		}
	}
	o, _ := tree(t, map[string]string{"usr/sbin/sshd": "", "etc/ssh/ssh_host_dsa_key": "old"})
	if step, _ := o.hostKeys("child"); step.State != agentproto.StepFailed || !strings.Contains(step.Detail, "dsa") || o.read("etc/ssh/ssh_host_dsa_key") != "old" {
		t.Errorf("%+v", step)
	}
	path := filepath.Join(o.Root, "etc/ssh/ssh_host_dsa_key")
	if err := replaceKey(path, "c", func() (crypto.Signer, error) { return nil, errors.New("no") }); err == nil || o.read("etc/ssh/ssh_host_dsa_key") != "old" {
		t.Error(err)
	}
}
