package access

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestHostKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	key, err := hostKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := hostKey(path)
	if err != nil || !key.Equal(again) {
		t.Errorf("another key the second time, %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if want := string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(public))); publicKey(key) != want {
		t.Errorf("%s, want %s", publicKey(key), want)
	}
	for name, data := range map[string]string{
		"empty": "", "no key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := hostKey(path); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
