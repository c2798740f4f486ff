package project

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"banger/api"
	"banger/internal/config"
	"banger/internal/guest/forward"
)

// Reach is what the banger.toml of a workspace asks of the host beyond the VM. Its user confirms it
// once for each content.
type Reach struct {
	top      string // of the workspace
	files    []config.FileSync
	dotfiles []string
	ports    []api.PublishedPort // that other machines reach
	hostEnv  []string
	include  []string
	network  string // beyond what the user's settings give
	own      string
}

// Reach returns what c asks of the host. top is the workspace's canonical top level; own is the
// network that a VM would have if c said nothing.
func (c Config) Reach(top, own string) Reach {
	r := Reach{top: top, files: c.Files, dotfiles: c.Dotfiles, hostEnv: c.HostEnv, include: c.Sync.Include}
	for _, p := range c.Ports {
		if spec, err := forward.Published(p); err != nil || forward.Open(spec.Listen) {
			r.ports = append(r.ports, p)
		}
	}
	if c.Network == api.NetworkNAT && own != api.NetworkNAT {
		r.network, r.own = c.Network, own
	}
	return r
}

// Needs describes in plain words what still has to be confirmed, a line each; none: nothing.
func (r Reach) Needs(allowed *Allowed) []string {
	if allowed.has(r.digest()) {
		return nil
	}
	return r.words()
}

func (r Reach) words() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, f := range r.files {
		add("copies %s of this host into the VM, to %s", shown(f.Host), shown(f.Guest))
	}
	for _, file := range r.dotfiles {
		add("copies %s of this host into the VM", shown(file))
	}
	for _, name := range r.hostEnv {
		add("passes the variable %s of this host to the VM", name)
	}
	for _, pattern := range r.include {
		add("copies files that git ignores into the VM: %s", shown(pattern))
	}
	for _, p := range r.ports {
		port := fmt.Sprintf("port %d of this host (%s, %s)", p.HostPort, p.Address, p.Protocol)
		if p.HostPort == 0 {
			port = fmt.Sprintf("a free port of this host (%s, %s)", p.Address, p.Protocol)
		}
		add("lets other machines reach %s, which leads to port %d of the VM", port, p.GuestPort)
	}
	if r.network != "" {
		add("lets the VM reach the outside (network %q), which your settings do not (%q)", r.network, r.own)
	}
	return all
}

// digest identifies the content: the order of keys and items in the file does not matter.
func (r Reach) digest() string {
	h := newDigest("banger reach 1")
	h.add("top", r.top)
	var files, ports []string
	for _, f := range r.files {
		each := newDigest("file") // a text of fixed length, whatever is in the paths
		each.add(f.Host, f.Guest, fmt.Sprint(f.Mode), f.Owner)
		files = append(files, each.sum())
	}
	for _, p := range r.ports {
		ports = append(ports, p.String())
	}
	for _, list := range [][]string{files, r.dotfiles, r.hostEnv, r.include, ports} {
		h.list(slices.Sorted(slices.Values(list)))
	}
	h.add(r.network)
	return h.sum()
}

// digest hashes texts so that no two sequences of them give the same.
type digest struct{ h hash.Hash }

func newDigest(purpose string) digest {
	d := digest{sha256.New()}
	d.add(purpose)
	return d
}

// add hashes texts, each with its length.
func (d digest) add(texts ...string) {
	for _, text := range texts {
		d.number(len(text))
		d.h.Write([]byte(text))
	}
}

// list hashes texts and how many they are.
func (d digest) list(texts []string) {
	d.number(len(texts))
	d.add(texts...)
}

func (d digest) number(n int) {
	d.h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func (d digest) sum() string { return hex.EncodeToString(d.h.Sum(nil)) }
