package access

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// SSHAccess returns a running VM's host key, which is created at the first request and removed with
// the VM's directory.
func (g *Guests) SSHAccess(_ context.Context, ref string) (api.SSHAccess, error) {
	at, err := g.table.Look(ref)
	if err == nil {
		err = at.Reachable()
	}
	if err != nil {
		return api.SSHAccess{}, err
	}
	v := at.VM
	g.keys.Lock() // one is made only once
	defer g.keys.Unlock()
	key, err := hostKey(filepath.Join(g.paths.VM(v.ID), paths.VMHostKey))
	if err != nil {
		return api.SSHAccess{}, api.Errorf(api.AsError(err).Kind, "cannot get the host key of VM %s: %w", v.Name, err).WithHint("%s", api.AsError(err).Hint)
	}
	return api.SSHAccess{
		Name: v.Name, HostKey: key.Seed(),
		KnownHosts: v.Name + ".banger," + v.ID + ".banger " + publicKey(key),
	}, nil
}

// hostKey reads a key, or creates it if there is none.
func hostKey(path string) (ed25519.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeHostKey(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, badKey(path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, badKey(path)
	}
	return key, nil
}

func badKey(path string) error {
	return api.Errorf(api.KindInternal, "%s does not contain an ed25519 key", path).WithHint("rm %s   makes banger create a new one", path)
}

func makeHostKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, fsx.DiskError("write the host key", fsx.WriteFile(path, data, 0o600))
}

// publicKey returns a key's public half in the form of known_hosts: the base64 of two
// strings (RFC 8709, section 4).
func publicKey(key ed25519.PrivateKey) string {
	const kind = "ssh-ed25519"
	var b []byte
	for _, field := range []string{kind, string(key.Public().(ed25519.PublicKey))} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
	}
	return kind + " " + base64.StdEncoding.EncodeToString(b)
}
