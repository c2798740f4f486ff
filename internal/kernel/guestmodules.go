package kernel

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// guestDirs are the directories of modules that programs in a guest with its own init
// expect: container networks and their firewalls, tunnels, overlay and FUSE file
// systems, loop devices. Hardware drivers are left out, as microVMs have no such
// hardware.
var guestDirs = []string{
	"net/802", "net/8021q", "net/bridge", "net/ipv4", "net/ipv6", "net/llc", "net/netfilter", "net/sched", "net/xfrm",
	"fs/autofs", "fs/fuse", "fs/overlayfs", "drivers/net/ipvlan", "drivers/net/vxlan", "drivers/net/wireguard",
}

// guestModules are such modules in directories with other modules.
var guestModules = []string{
	"binfmt_misc", "dummy", "geneve", "ifb", "loop", "macvlan", "macvtap", "tun", "veth", "vrf", "xt_addrtype",
}

// forGuests returns the names of the modules of a tree that guests get.
func (t *moduleTree) forGuests() []string {
	var names []string
	for name, path := range t.files {
		rel, err := filepath.Rel(filepath.Join(t.dir, "kernel"), path)
		if err != nil {
			continue
		}
		within := func(dir string) bool { return strings.HasPrefix(rel, dir+"/") }
		if slices.ContainsFunc(guestDirs, within) || slices.Contains(guestModules, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// guestArchive makes a second initramfs: a /lib/modules/RELEASE of the modules for
// guests, with the indexes for modprobe(8). It returns nil for a kernel without such
// modules.
func guestArchive(t *moduleTree, release string) ([]byte, error) {
	modules, err := t.resolve(t.forGuests())
	if err != nil || len(modules) == 0 {
		return nil, err
	}
	var b bytes.Buffer
	c := &cpioWriter{w: &b}
	dir := "lib/modules/" + release
	for _, d := range []string{"lib", "lib/modules", dir} {
		c.dir(d)
	}
	for _, m := range modules {
		c.file(dir+"/"+m.name+".ko", modeFile, m.data)
	}
	files := indexes(modules, t.builtin)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c.file(dir+"/"+name, modeFile, files[name])
	}
	err = c.close()
	return b.Bytes(), err
}

// indexes returns the files that depmod(8) creates for modules, which are in load
// order: as text, which busybox reads, and as the tries that kmod reads.
func indexes(modules []module, builtin map[string]bool) map[string][]byte {
	var dep, alias, soft, nodes bytes.Buffer
	depTrie, aliasTrie, builtinTrie := newTrie(), newTrie(), newTrie()
	needs := map[string][]string{} // all dependencies of a module, last loaded first
	for i, m := range modules {
		needs[m.name] = closure(modules[:i], m, needs)
		line := m.name + ".ko:"
		for _, need := range needs[m.name] {
			line += " " + need + ".ko"
		}
		fmt.Fprintln(&dep, line)
		depTrie.add(m.name, line, uint32(i))
		for _, a := range m.info.aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, m.name)
			aliasTrie.add(normalAlias(a), m.name, uint32(i))
		}
		fmt.Fprint(&nodes, staticNode(m))
		for _, s := range m.info.softdep {
			fmt.Fprintf(&soft, "softdep %s %s\n", m.name, s)
		}
	}
	for name := range builtin {
		builtinTrie.add(name, "", 0)
	}
	return map[string][]byte{
		"modules.dep": dep.Bytes(), "modules.alias": alias.Bytes(), "modules.softdep": soft.Bytes(), "modules.devname": nodes.Bytes(),
		"modules.dep.bin": depTrie.bytes(), "modules.alias.bin": aliasTrie.bytes(),
		"modules.builtin.bin": builtinTrie.bytes(), "modules.symbols.bin": newTrie().bytes(),
	}
}

// staticNode returns the line of modules.devname from which `kmod static-nodes` creates
// a device before its module is loaded. Opening the device loads the module: /dev/fuse.
func staticNode(m module) string {
	name, device := "", ""
	for _, a := range m.info.aliases {
		var major, minor uint32
		if n, ok := strings.CutPrefix(a, "devname:"); ok {
			name = n
		} else if n, _ := fmt.Sscanf(a, "char-major-%d-%d", &major, &minor); n == 2 {
			device = fmt.Sprintf("c%d:%d", major, minor)
		}
	}
	if name == "" || device == "" {
		return ""
	}
	return fmt.Sprintf("%s %s %s\n", m.name, name, device)
}

// closure returns all dependencies of a module that are loaded before it.
func closure(before []module, m module, needs map[string][]string) []string {
	wanted := map[string]bool{}
	for _, d := range m.info.depends {
		wanted[d] = true
		for _, n := range needs[d] {
			wanted[n] = true
		}
	}
	var all []string
	for _, b := range slices.Backward(before) {
		if wanted[b.name] {
			all = append(all, b.name)
		}
	}
	return all
}

// normalAlias normalizes an alias as kmod does: with underscores, except in brackets
// (alias_normalize in its libkmod/libkmod-util.c).
func normalAlias(a string) string {
	in := false
	return strings.Map(func(r rune) rune {
		switch {
		case r == '[':
			in = true
		case r == ']':
			in = false
		case r == '-' && !in:
			return '_'
		}
		return r
	}, a)
}

// writeWith writes two initramfs images one after the other: the kernel unpacks both
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func writeWith(w io.Writer, agent []byte, modules []module, more []byte) error {
	if err := writeInitramfs(w, agent, modules); err != nil {
		return err
	}
	_, err := w.Write(more)
	return err
}
