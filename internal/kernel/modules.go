package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

// wanted are the modules that a guest needs before it has its root file system, in load
// order; their dependencies are loaded before them. The channel to the agent comes
// first, so that the host detects the guest early. ext4 is the root file system.
func wanted() []string {
	return []string{"virtio_mmio", "virtio_console", "virtio_blk", "ext4", "virtio_net"}
}

// vsockModule is the channel to the agent for Firecracker, which has no virtio console.
// QEMU does not need it. The agent loads it, and the modules only it needs, if the
// guest was started with it.
const vsockModule = "vmw_vsock_virtio_transport"

// module is a module to load.
type module struct {
	name string
	data []byte // uncompressed
	info modinfo
}

// moduleTree is a /lib/modules/RELEASE directory.
type moduleTree struct {
	dir     string
	files   map[string]string // name → path
	builtin map[string]bool
	aliases aliases
	read    func(path string) ([]byte, error)
	absent  []string // missing optional modules: "NAME, which MODULE wants"
}

// openModules reads a modules directory. An empty dir is a kernel with everything built
// in.
func openModules(dir string, read func(path string) ([]byte, error)) (*moduleTree, error) {
	t := &moduleTree{dir: dir, read: read, files: map[string]string{}, builtin: map[string]bool{}}
	if dir == "" {
		return t, nil
	}
	if err := t.readBuiltin(); err != nil {
		return nil, err
	}
	if err := t.readBuiltinAliases(); err != nil {
		return nil, err
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base, _, ok := strings.Cut(d.Name(), ".ko"); ok && d.Type().IsRegular() {
			if name := moduleName(base); t.files[name] == "" || strings.Contains(path, "/updates/") {
				t.files[name] = path // depmod prefers updates, too
			}
		}
		return nil
	})
	return t, err
}

// readBuiltin reads modules.builtin: one path such as kernel/fs/ext4/ext4.ko per line.
func (t *moduleTree) readBuiltin() error {
	data, err := t.read(filepath.Join(t.dir, "modules.builtin"))
	if errors.Is(err, os.ErrNotExist) {
		return api.Errorf(api.KindInvalid, "%s is not a directory of kernel modules: it has no modules.builtin", t.dir).
			WithHint("use the directory /lib/modules/RELEASE that belongs to the kernel")
	}
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		base, _, _ := strings.Cut(filepath.Base(lines.Text()), ".ko")
		t.builtin[moduleName(base)] = true
	}
	return lines.Err()
}

// has reports whether the kernel has a module, loadable or built in. A kernel with
// everything built in has no list, so it is assumed to have it.
func (t *moduleTree) has(name string) bool {
	return t.dir == "" || t.builtin[name] || t.files[name] != ""
}

// resolve returns the named modules with their dependencies, in load order. Built-in
// modules are left out.
func (t *moduleTree) resolve(names []string) ([]module, error) {
	if t.dir == "" {
		return nil, nil
	}
	r := resolver{tree: t, seen: map[string]bool{}}
	for _, name := range names {
		if err := r.visit(name, ""); err != nil {
			return nil, err
		}
	}
	return r.order, nil
}

// resolver sorts modules in load order.
type resolver struct {
	tree  *moduleTree
	seen  map[string]bool
	order []module
}

// visit adds a module, after its dependencies.
func (r *resolver) visit(name, neededBy string) error {
	if r.seen[name] || r.tree.builtin[name] {
		return nil
	}
	r.seen[name] = true // also stops at cycles, which the kernel would refuse
	path := r.tree.files[name]
	if path == "" {
		return api.Errorf(api.KindInvalid, "kernel module %s%s is neither built in nor in %s", name, neededBy, r.tree.dir)
	}
	data, info, err := r.tree.readModule(path)
	if err != nil {
		return fmt.Errorf("module %s: %w", path, err)
	}
	for _, dep := range info.softdeps {
		if err := r.soft(dep, name); err != nil {
			return err
		}
	}
	for _, dep := range info.depends {
		if err := r.visit(moduleName(dep), ", which "+name+" needs,"); err != nil {
			return err
		}
	}
	r.order = append(r.order, module{name: name, data: data, info: info})
	return nil
}

// soft adds the modules that should be loaded before a module, if they exist: by name,
// or all that match an alias, as modprobe(8) does. ext4 wants "crypto-crc32c", which is
// an alias.
func (r *resolver) soft(wanted, by string) error {
	t := r.tree
	if name := moduleName(wanted); t.builtin[name] || t.files[name] != "" {
		return r.visit(name, "")
	}
	names, builtin, err := t.byAlias(wanted)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := r.visit(name, ""); err != nil {
			return err
		}
	}
	if len(names) == 0 && !builtin {
		t.absent = append(t.absent, wanted+", which "+by+" wants")
	}
	return nil
}

func (t *moduleTree) readModule(path string) ([]byte, modinfo, error) {
	data, err := t.read(path)
	if err != nil {
		return nil, modinfo{}, err
	}
	if data, err = decompress(data); err != nil {
		return nil, modinfo{}, err
	}
	info, err := parseModinfo(data)
	return data, info, err
}

// readFile reads a regular file of at most maxSize bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, fmt.Errorf("%s is not a regular file of at most %d MiB", path, maxSize>>20)
	}
	return readCapped(f)
}
