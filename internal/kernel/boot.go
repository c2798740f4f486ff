package kernel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fsx"
)

// agentFile identifies a file without reading it.
type agentFile struct {
	path string
	size int64
	time time.Time
}

// Boot returns the files for booting a kernel with an agent. The initramfs is made once
// per kernel and agent.
func (c *Cache) Boot(ctx context.Context, digest, agentPath string) (vmlinux, initramfs string, err error) {
	return c.boot(ctx, digest, agentPath, initramfsPrefix)
}

// BootFull is Boot with an initramfs that also contains the modules for programs in
// guests, if the cache has them. It takes more memory in a guest, and slightly more
// time to unpack.
func (c *Cache) BootFull(ctx context.Context, digest, agentPath string) (vmlinux, initramfs string, err error) {
	return c.boot(ctx, digest, agentPath, fullPrefix)
}

func (c *Cache) boot(ctx context.Context, digest, agentPath, prefix string) (vmlinux, initramfs string, err error) {
	hex := digeststore.Hex(digest)
	vmlinux = c.store.Path(hex, vmlinuxFile)
	if _, err := os.Stat(vmlinux); err != nil || !digeststore.IsHex(hex) {
		return "", "", api.Errorf(api.KindNotFound, "no kernel %s", digest).WithHint("banger kernel pull")
	}
	agent, err := c.agentDigest(agentPath)
	if err != nil {
		return "", "", api.Errorf(api.KindInternal, "cannot read the guest agent: %w", err).
			WithHint("banger-agent must be in bangerd's directory: make build")
	}
	initramfs = c.store.Path(hex, prefix+agent[:16])
	if _, err := os.Stat(initramfs); err == nil {
		return vmlinux, initramfs, nil
	}
	if err := acquire(ctx, c.booting); err != nil {
		return "", "", err
	}
	defer func() { <-c.booting }()
	if _, err := os.Stat(initramfs); err == nil {
		return vmlinux, initramfs, nil
	}
	if err := c.makeInitramfs(hex, agentPath, prefix, initramfs); err != nil {
		return "", "", fsx.DiskError("make the initramfs", err)
	}
	return vmlinux, initramfs, nil
}

// agentDigest hashes the agent, once for each version of the file.
func (c *Cache) agentDigest(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	key := agentFile{path: path, size: info.Size(), time: info.ModTime()}
	c.mu.Lock()
	digest, ok := c.agents[key]
	c.mu.Unlock()
	if ok {
		return digest, nil
	}
	data, err := readFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	digest = hex.EncodeToString(sum[:])
	c.mu.Lock()
	c.agents = map[agentFile]string{key: digest}
	c.mu.Unlock()
	return digest, nil
}

// checkAgent refuses an agent that needs a dynamic linker: the initramfs has none, so
// the guest would panic.
func checkAgent(agent []byte) error {
	f, err := elf.NewFile(bytes.NewReader(agent))
	if err != nil {
		return nil // tests that do not boot use a stub
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return api.Errorf(api.KindInvalid, "cannot use the guest agent: it is not a static program").WithHint("make build")
		}
	}
	return nil
}

func (c *Cache) makeInitramfs(hex, agentPath, prefix, target string) error {
	m, err := c.meta(hex)
	if err != nil {
		return err
	}
	agent, err := readFile(agentPath)
	if err != nil {
		return err
	}
	if err := checkAgent(agent); err != nil {
		return err
	}
	var modules []module
	for _, name := range m.Modules {
		data, err := readFile(c.store.Path(hex, modulesDir, filepath.Base(name)))
		if err != nil {
			return errors.Join(errNoModules, err)
		}
		modules = append(modules, module{name: loadName(name), data: data})
	}
	var more []byte
	if prefix == fullPrefix {
		if more, err = readFile(c.store.Path(hex, guestFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	dir, err := c.store.Stage()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	staged := filepath.Join(dir, "initramfs")
	if err := writeFile(staged, agent, modules, more); err != nil {
		return err
	}
	// Files of older agents; a running VMM has read its own already.
	old, _ := filepath.Glob(c.store.Path(hex, prefix+"*"))
	if err := os.Rename(staged, target); err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// loadName reverses moduleFile.
func loadName(file string) string {
	_, name, _ := strings.Cut(strings.TrimSuffix(file, ".ko"), "-")
	return name
}

func writeFile(path string, agent []byte, modules []module, more []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = writeWith(w, agent, modules, more)
	return errors.Join(err, w.Flush(), f.Sync(), f.Close())
}
