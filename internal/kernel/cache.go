package kernel

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/apt"
	"banger/internal/host/fsx"
	"banger/internal/paths"
)

// Cache holds the kernels of one installation, each in a directory named by the digest
// of its content. One process at a time may open it: the daemon.
type Cache struct {
	store *digeststore.Store[api.Kernel] // without their names
	apt   *apt.Apt

	pulling chan struct{} // held while a kernel is pulled
	booting chan struct{} // held while an initramfs is made
	proof   *proof        // proves imported kernels; nil: does not

	mu     sync.Mutex // guards agents
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

// The files in a kernel's directory, besides its record.
const (
	vmlinuxFile     = "vmlinux"
	modulesDir      = "modules"
	guestFile       = "guest-modules.cpio"
	initramfsPrefix = "initramfs-"
	fullPrefix      = "full-initramfs-"
)

// Open opens the cache below p.
func Open(p paths.Paths, a *apt.Apt) (*Cache, error) {
	store, err := digeststore.Open(p.Kernels(), p.Staging(), digeststore.Kind[api.Kernel]{
		Name: "kernel", Plural: "kernels", ListCommand: "banger kernel list",
		Read: readKernel, Created: func(k api.Kernel) time.Time { return k.CreatedAt },
	})
	if err != nil {
		return nil, err
	}
	return &Cache{
		store: store, apt: a,
		pulling: make(chan struct{}, 1), booting: make(chan struct{}, 1), agents: map[agentFile]string{},
	}, nil
}

func readKernel(dir, hex string) (api.Kernel, error) {
	var m meta
	if err := digeststore.ReadMeta(dir, &m); err != nil {
		return api.Kernel{}, err
	}
	return api.Kernel{
		Digest: "sha256:" + hex, Release: m.Release, Source: m.Source, Arch: m.Arch, CreatedAt: m.CreatedAt,
		SizeBytes: fsx.Usage(dir),
	}, nil
}

type (
	entry  = digeststore.Entry[api.Kernel]
	locked = digeststore.Locked[api.Kernel]
)

// withNames returns a kernel with its names, unless there is an error.
func withNames(e entry, err error) (api.Kernel, error) {
	if err != nil {
		return api.Kernel{}, err
	}
	k := e.Object
	k.Names = e.Names
	return k, nil
}

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
	l := c.store.Lock()
	defer l.Unlock()
	entries, err := l.List()
	if err != nil {
		return nil, err
	}
	kernels := make([]api.Kernel, len(entries))
	for i, e := range entries {
		kernels[i], _ = withNames(e, nil)
	}
	return kernels, nil
}

func (c *Cache) meta(hex string) (m meta, err error) {
	err = c.store.Meta(hex, &m)
	return m, err
}

// Get finds a kernel by name, release, digest or unique prefix of a digest.
func (c *Cache) Get(ref string) (api.Kernel, error) {
	l := c.store.Lock()
	defer l.Unlock()
	return withNames(find(l, ref))
}

func find(l locked, ref string) (entry, error) {
	if e, ok := l.Exact(ref); ok {
		return e, nil
	}
	entries, err := l.List()
	if err != nil {
		return entry{}, err
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.Object.Release != ref })
	switch len(entries) {
	case 0:
	case 1:
		return entries[0], nil
	default:
		return entry{}, api.Errorf(api.KindInvalid, "%q matches %d kernels", ref, len(entries)).
			WithHint("name it by its digest: banger kernel list")
	}
	e, ok, err := l.ByPrefix(ref)
	if err == nil && !ok {
		err = api.Errorf(api.KindNotFound, "no kernel %q", ref).WithHint("banger kernel list, or banger kernel pull")
	}
	return e, err
}

// Default returns the kernel for VMs that do not name one, or an error of kind not
// found.
func (c *Cache) Default() (api.Kernel, error) { return c.Get(DefaultName) }

// Delete removes a kernel and its names, unless a VM uses it. inUse returns the names
// of the VMs that use the kernel with a digest; it is called while no other call can
// get a kernel.
func (c *Cache) Delete(ref string, inUse func(digest string) []string) error {
	l := c.store.Lock()
	defer l.Unlock()
	e, err := find(l, ref)
	if err != nil {
		return err
	}
	if users := inUse(e.Digest()); len(users) > 0 {
		return c.store.Used(ref, users)
	}
	if err := l.Drop(e.Names...); err != nil {
		return err
	}
	if err := l.Remove(e.Hex); err != nil {
		return api.Errorf(api.KindInternal, "cannot delete kernel %s: %w", e.Object.Release, err)
	}
	return nil
}

// Usage returns how many bytes the cache occupies.
func (c *Cache) Usage() int64 { return c.store.Usage() }

var errNoModules = fmt.Errorf("the kernel's directory lacks modules that meta.json lists")
