package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"banger/internal/guest/agentproto"
)

// rsaBits is what ssh-keygen(1) makes.
const rsaBits = 3072

// makeKey makes a host key of each type that is made at once: the primes of one of RSA have to be
// searched, in an emulated guest too. The kernel's random numbers are others already.
var makeKey = map[string]func() (crypto.Signer, error){
	"ed25519": func() (crypto.Signer, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	},
	"ecdsa": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
}

func makeRSA() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }

// hostKeys replaces the keys by which the image's own sshd proves which host it is. Each is replaced
// once the new one is complete. What is begun later runs with the programs of the guest.
func (o Options) hostKeys(name string) (step agentproto.Step, later func()) {
	const title = agentproto.StepHostKeys
	dir := filepath.Join(o.Root, "etc/ssh")
	keys, err := filepath.Glob(filepath.Join(dir, "ssh_host_*_key"))
	if _, missing := os.Stat(filepath.Join(o.Root, "usr/sbin/sshd")); err != nil || missing != nil || len(keys) == 0 {
		return skipped(title, "the guest has no sshd with keys"), nil
	}
	var made, others []string
	var errs []error
	for _, path := range keys {
		kind := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "ssh_host_"), "_key")
		switch generate := makeKey[kind]; {
		case generate != nil:
			errs = append(errs, replaceKey(path, "root@"+name, generate))
			made = append(made, kind)
		case kind == "rsa":
			later = func() { _ = replaceKey(path, "root@"+name, makeRSA) }
			made = append(made, "rsa follows")
		default:
			others = append(others, kind)
		}
	}
	if len(others) > 0 {
		errs = append(errs, fmt.Errorf("keys of an unknown type stay: %s", strings.Join(others, ", ")))
	}
	if err := errors.Join(errs...); err != nil {
		return failed(title, err), later
	}
	slices.Sort(made)
	return agentproto.Step{Name: title, State: agentproto.StepDone, Detail: strings.Join(made, ", ")}, later
}

// replaceKey replaces a private key, and the public one beside it.
func replaceKey(path, comment string, generate func() (crypto.Signer, error)) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not an ordinary file", path)
	}
	key, err := generate()
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return err
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return err
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(public)), "\n") + " " + comment + "\n"
	// The private key decides, and the public one may be missing.
	if err := replaceFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	return replaceFile(path+".pub", []byte(line), 0o644)
}

// replaceFile replaces a file by a complete one.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".banger-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
