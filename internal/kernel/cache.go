package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/fsx"
	"banger/internal/idref"
	"banger/internal/paths"
)

// Cache holds the kernels of one installation, each in a directory named by the digest
// of its content. One process at a time may open it: the daemon.
type Cache struct {
	dir     string
	staging string
	apt     *apt.Apt

	pulling chan struct{} // held while a kernel is pulled
	booting chan struct{} // held while an initramfs is made
	proof   *proof        // proves imported kernels; nil: does not

	mu     sync.Mutex // guards the fields below, names.json and the directories
	names  map[string]string
	agents map[agentFile]string
}

// DefaultName is the name of the kernel for VMs that do not name one.
const DefaultName = "default"

// meta is the record in a kernel's directory, meta.json.
type meta struct {
	Release   string    `json:"release"`
	Source    string    `json:"source"`
	Package   string    `json:"package,omitempty"` // file name of the package it came from
	Arch      string    `json:"arch"`
	CreatedAt time.Time `json:"created_at"`
	// Modules are the files in modules/, in the order they are loaded.
	Modules []string `json:"modules"`
	// Extraction is the version of the rules by which the files were chosen.
	Extraction int `json:"extraction,omitempty"`
	// ModulesDir is the directory of all other modules of the kernel on this host;
	// empty if they are not stored.
	ModulesDir string `json:"modules_dir,omitempty"`
}

// extraction is the version of the rules by which a kernel's files are chosen. A kernel
// of older rules boots as before; a pull replaces it.
//
//   - 1, not recorded: QEMU's devices.
//   - 2: also the vsock transport.
//   - 3: also modules for programs in guests.
const extraction = 3

// The files in a kernel's directory.
const (
	vmlinuxFile     = "vmlinux"
	metaFile        = "meta.json"
	modulesDir      = "modules"
	guestFile       = "guest-modules.cpio"
	initramfsPrefix = "initramfs-"
	fullPrefix      = "full-initramfs-"
)

// Open opens the cache below p.
func Open(p paths.Paths, a *apt.Apt) (*Cache, error) {
	c := &Cache{
		dir: p.Kernels(), staging: p.Staging(), apt: a,
		pulling: make(chan struct{}, 1), booting: make(chan struct{}, 1),
		names: map[string]string{}, agents: map[agentFile]string{},
	}
	for _, dir := range []string{c.dir, c.staging} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fsx.DiskError("make directory", err)
		}
	}
	if err := fsx.RemoveTemporary(c.namesFile()); err != nil {
		return nil, fsx.DiskError("remove the leftovers of a crash", err)
	}
	data, err := os.ReadFile(c.namesFile())
	if err == nil {
		err = json.Unmarshal(data, &c.names)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot read the names of the kernels: %w", err).
			WithHint("remove %s: the kernels stay, their names are lost", c.namesFile())
	}
	return c, nil
}

func (c *Cache) namesFile() string { return filepath.Join(c.dir, "names.json") }

// acquire takes one of the cache's semaphores, or gives up when ctx ends.
func acquire(ctx context.Context, sem chan struct{}) error {
	select {
	case sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return api.Errorf(api.KindCanceled, "gave up waiting for another kernel to be made: %w", context.Cause(ctx))
	}
}

// List returns all kernels, oldest first.
func (c *Cache) List() ([]api.Kernel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list()
}

func (c *Cache) list() ([]api.Kernel, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot list kernels: %w", err)
	}
	kernels := []api.Kernel{}
	for _, e := range entries {
		if !e.IsDir() || !isHex(e.Name()) {
			continue
		}
		// A directory without a readable meta.json was damaged by hand: it is not a
		// kernel.
		if k, err := c.load(e.Name()); err == nil {
			kernels = append(kernels, k)
		}
	}
	slices.SortFunc(kernels, func(a, b api.Kernel) int {
		if d := a.CreatedAt.Compare(b.CreatedAt); d != 0 {
			return d
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	return kernels, nil
}

func (c *Cache) load(hex string) (api.Kernel, error) {
	m, err := c.meta(hex)
	if err != nil {
		return api.Kernel{}, err
	}
	k := api.Kernel{
		Digest: "sha256:" + hex, Release: m.Release, Source: m.Source, Arch: m.Arch, CreatedAt: m.CreatedAt,
		Names: []string{}, SizeBytes: fsx.Usage(filepath.Join(c.dir, hex)),
	}
	for name, digest := range c.names {
		if digest == hex {
			k.Names = append(k.Names, name)
		}
	}
	slices.Sort(k.Names)
	return k, nil
}

func (c *Cache) meta(hex string) (meta, error) {
	var m meta
	data, err := os.ReadFile(filepath.Join(c.dir, hex, metaFile))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}

func isHex(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Get finds a kernel by name, release, digest or unique prefix of a digest.
func (c *Cache) Get(ref string) (api.Kernel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(ref)
}

func (c *Cache) get(ref string) (api.Kernel, error) {
	kernels, err := c.list()
	if err != nil {
		return api.Kernel{}, err
	}
	var found []api.Kernel
	for _, match := range []func(api.Kernel) bool{
		func(k api.Kernel) bool { return slices.Contains(k.Names, ref) || k.Digest == ref },
		func(k api.Kernel) bool { return k.Release == ref },
	} {
		for _, k := range kernels {
			if match(k) {
				found = append(found, k)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return byDigest(ref, kernels)
	case 1:
		return found[0], nil
	}
	return api.Kernel{}, api.Errorf(api.KindInvalid, "%q matches %d kernels", ref, len(found)).
		WithHint("name it by its digest: banger kernel list")
}

func byDigest(ref string, kernels []api.Kernel) (api.Kernel, error) {
	digests := make([]string, len(kernels))
	for i := range kernels {
		digests[i] = kernels[i].Digest
	}
	at, err := idref.Find("kernels", ref, digests, func(i int) string { return idref.Label(digests[i], kernels[i].Names...) })
	switch {
	case err != nil:
		return api.Kernel{}, api.AsError(err).WithHint("banger kernel list")
	case at < 0:
		return api.Kernel{}, api.Errorf(api.KindNotFound, "no kernel %q", ref).WithHint("banger kernel list, or banger kernel pull")
	}
	return kernels[at], nil
}

// Default returns the kernel for VMs that do not name one, or an error of kind not
// found.
func (c *Cache) Default() (api.Kernel, error) { return c.Get(DefaultName) }

// Delete removes a kernel and its names, unless a VM uses it. inUse returns the names
// of the VMs that use the kernel with a digest; it is called while no other call can
// get a kernel.
func (c *Cache) Delete(ref string, inUse func(digest string) []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, err := c.get(ref)
	if err != nil {
		return err
	}
	if users := inUse(k.Digest); len(users) > 0 {
		return api.Errorf(api.KindConflict, "cannot delete kernel %.80s: it is used by %s", ref, strings.Join(users, ", ")).
			WithHint("banger vm delete %s", strings.Join(users, " "))
	}
	hex := strings.TrimPrefix(k.Digest, "sha256:")
	old := c.names
	c.names = map[string]string{}
	for name, digest := range old {
		if digest != hex {
			c.names[name] = digest
		}
	}
	if err := c.saveNames(); err != nil {
		c.names = old
		return err
	}
	// Renamed first, so that a half-removed kernel is never mistaken for a kernel.
	trash := filepath.Join(c.staging, "deleted-"+hex)
	if err := errors.Join(os.RemoveAll(trash), os.Rename(filepath.Join(c.dir, hex), trash), os.RemoveAll(trash)); err != nil {
		return api.Errorf(api.KindInternal, "cannot delete kernel %s: %w", k.Release, err)
	}
	return nil
}

// Usage returns how many bytes the cache occupies.
func (c *Cache) Usage() int64 { return fsx.Usage(c.dir) }

func (c *Cache) saveNames() error {
	if err := fsx.WriteJSON(c.namesFile(), c.names); err != nil {
		return fsx.DiskError("write the names of the kernels", err)
	}
	return nil
}

// stage makes a directory for work that ends with a rename.
func (c *Cache) stage() (string, error) {
	if err := os.MkdirAll(c.staging, 0o700); err != nil {
		return "", fsx.DiskError("make directory", err)
	}
	dir, err := os.MkdirTemp(c.staging, "kernel-*")
	if err != nil {
		return "", fsx.DiskError("make directory", err)
	}
	return dir, nil
}

func (c *Cache) path(hex string, elem ...string) string {
	return filepath.Join(append([]string{c.dir, hex}, elem...)...)
}

var errNoModules = fmt.Errorf("the kernel's directory lacks modules that meta.json lists")
