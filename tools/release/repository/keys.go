package repository

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/host/fsx"
)

// A key is two files: NAME.pem, the private half (PKCS #8, RFC 5958), for its holder
// only, and NAME.pub, the public one (RFC 5280, 4.1). Their names are for people: the
// root defines which role a key has.

// Keys are the available private keys, by their ids.
type Keys map[string]signature.Signer

// LoadKeys reads the private keys in directories, such as one on this machine and one
// on a removable medium.
func LoadKeys(dirs ...string) (Keys, error) {
	keys := Keys{}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err != nil {
			return nil, api.Errorf(api.KindNotFound, "cannot read keys: %w", err).WithHint("go run ./tools/release keys %s", dir)
		}
		paths, err := filepath.Glob(filepath.Join(dir, "*.pem"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			id, signer, err := loadKey(path)
			if err != nil {
				return nil, api.Errorf(api.KindInvalid, "cannot read key %s: %w", path, err)
			}
			keys[id] = signer
		}
	}
	return keys, nil
}

func loadKey(path string) (string, signature.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return "", nil, errors.New("it is not a private key in PEM format")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", nil, err
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return "", nil, fmt.Errorf("it is a %T, not an Ed25519 key", parsed)
	}
	_, id, err := tufKey(private.Public().(ed25519.PublicKey))
	if err != nil {
		return "", nil, err
	}
	signer, err := signature.LoadED25519Signer(private)
	return id, signer, err
}

func tufKey(public ed25519.PublicKey) (*metadata.Key, string, error) {
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return nil, "", err
	}
	id, err := key.ID()
	return key, id, err
}

// LoadPublic reads the public half of a key, and returns it and its id.
func LoadPublic(path string) (*metadata.Key, string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", api.Errorf(api.KindNotFound, "cannot read key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, "", api.Errorf(api.KindInvalid, "cannot read key %s: it is not a public key in PEM format", path)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, "", api.Errorf(api.KindInvalid, "cannot read key %s: it is not an Ed25519 key", path)
	}
	return tufKey(public)
}

// NewKey makes a key for a role, ROLE-N with the next free N, and returns the path of
// its public half.
func NewKey(dir, role string) (string, error) {
	if err := validRole(role); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", api.AsError(err)
	}
	for n := 1; ; n++ {
		base := filepath.Join(dir, fmt.Sprintf("%s-%d", role, n))
		taken, err := filepath.Glob(base + ".p*") // also if one half was moved away
		if err != nil {
			return "", err
		}
		if len(taken) == 0 {
			return base + ".pub", writeKey(base)
		}
	}
}

// writeKey makes a key. Its private half is never in a file that others can read, and
// never replaces an existing file.
func writeKey(base string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	open, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(base+".pem", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return api.Errorf(api.KindExists, "cannot make key %s: %w", base, err)
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fsx.DiskError("write key "+base, err)
	}
	pub := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open})
	return fsx.DiskError("write key "+base, fsx.WriteFile(base+".pub", pub, 0o644))
}

// validRole checks that role is one of the four roles.
func validRole(role string) error {
	for _, r := range metadata.TOP_LEVEL_ROLE_NAMES {
		if r == role {
			return nil
		}
	}
	return api.Errorf(api.KindInvalid, "%q is not a valid role", role).
		WithHint("one of: %s", strings.Join(metadata.TOP_LEVEL_ROLE_NAMES[:], ", "))
}
