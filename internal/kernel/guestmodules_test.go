package kernel

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"

	"github.com/google/go-cmp/cmp"
)

// guestTree adds modules for guests to fakeTree's.
func guestTree(t *testing.T, root string) {
	t.Helper()
	fakeTree(t, root, "x")
	for path, info := range map[string]string{
		"net/llc/llc.ko": "depends=", "net/802/stp.ko": "depends=llc",
		"net/bridge/bridge.ko":         "depends=stp,llc\x00alias=rtnl-link-bridge",
		"net/bridge/br_netfilter.ko":   "depends=bridge\x00softdep=post: nf-thing",
		"fs/fuse/fuse.ko":              "depends=\x00alias=devname:fuse\x00alias=char-major-10-229\x00alias=fs-fuse\x00alias=\xff\xfe",
		"drivers/net/veth.ko":          "depends=\x00alias=rtnl-link-veth",
		"drivers/net/ethernet/real.ko": "depends=",
	} {
		write(t, filepath.Join(root, "lib/modules", fakeRelease, "kernel", path), tinyModule("license=GPL\x00"+info+"\x00"))
	}
}

func TestModulesForGuests(t *testing.T) {
	root := t.TempDir()
	guestTree(t, root)
	tree, err := openModules(filepath.Join(root, "lib/modules", fakeRelease), readFile)
	must(t, err)
	modules, err := tree.resolve(tree.forGuests())
	must(t, err)
	files := indexes(modules, tree.builtin)
	for name, want := range map[string]string{
		"modules.dep": "llc.ko:\nstp.ko: llc.ko\nbridge.ko: stp.ko llc.ko\nbr_netfilter.ko: bridge.ko stp.ko llc.ko\n" +
			"fuse.ko:\nveth.ko:\n",
		"modules.alias": "alias rtnl-link-bridge bridge\nalias devname:fuse fuse\nalias char-major-10-229 fuse\n" +
			"alias fs-fuse fuse\nalias rtnl-link-veth veth\n",
		"modules.softdep": "softdep br_netfilter post: nf-thing\n",
		"modules.devname": "fuse fuse c10:229\n",
	} {
		if diff := cmp.Diff(want, string(files[name])); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	for _, name := range []string{"modules.dep.bin", "modules.alias.bin", "modules.builtin.bin", "modules.symbols.bin"} {
		if !bytes.HasPrefix(files[name], []byte{0xb0, 0x07, 0xf4, 0x57}) {
			t.Errorf("%s begins with %x", name, files[name][:min(4, len(files[name]))])
		}
	}
}

// TestTrie compares with what depmod of kmod 30 makes of a modules.builtin with these
// four.
func TestTrie(t *testing.T) {
	const want = "b007f4570002000120000051787434000000000100000000006f737400000000010000000000626c6b000000000100000000007274696f005f5fc00000260000000100000000006869c0000019e00000336576c000000c0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000020000047"
	tr := newTrie()
	for _, name := range []string{"virtio", "virtio_blk", "ext4", "vhost"} {
		tr.add(name, "", 0)
	}
	if got := hex.EncodeToString(tr.bytes()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNormalAlias(t *testing.T) {
	if got := normalAlias("fs-over-lay:[a-f]-x"); got != "fs_over_lay:[a-f]_x" {
		t.Error(got)
	}
}

// TestFullInitramfs is the ordinary one with another behind it; both stay when an
// agent changes one of them.
func TestFullInitramfs(t *testing.T) {
	c := newCache(t)
	root := t.TempDir()
	guestTree(t, root)
	kernel := filepath.Join(root, "boot/vmlinuz-"+fakeRelease)
	k, err := c.Import(t.Context(), api.ImportKernel{Path: kernel, Modules: filepath.Join(root, "lib/modules", fakeRelease)}, quiet)
	must(t, err)
	agent := filepath.Join(t.TempDir(), "agent")
	write(t, agent, []byte("agent"))
	_, plain, err := c.Boot(t.Context(), k.Digest, agent)
	must(t, err)
	_, full, err := c.BootFull(t.Context(), k.Digest, agent)
	must(t, err)
	first, err := os.ReadFile(plain)
	must(t, err)
	both, err := os.ReadFile(full)
	must(t, err)
	more, ok := bytes.CutPrefix(both, first)
	if !ok || len(first)%4 != 0 {
		t.Fatal("the full initramfs does not begin with the ordinary one, or that does not end where another may begin")
	}
	for _, want := range []string{"lib/modules/" + fakeRelease + "/br_netfilter.ko\x00", "/modules.dep.bin\x00", "TRAILER!!!"} {
		if !strings.Contains(string(more), want) {
			t.Errorf("it has no %q", want)
		}
	}
	if strings.Contains(string(more), "real.ko") || strings.Contains(string(first), "br_netfilter.ko\x00") {
		t.Error("modules are where they do not belong")
	}
}

// TestFullInitramfsOfAKernelWithoutModules is the ordinary one.
func TestFullInitramfsOfAKernelWithoutModules(t *testing.T) {
	c := newCache(t)
	root := t.TempDir()
	fakeTree(t, root, "x")
	k, err := c.Import(t.Context(), api.ImportKernel{Path: filepath.Join(root, "boot/vmlinuz-"+fakeRelease)}, quiet)
	must(t, err)
	agent := filepath.Join(t.TempDir(), "agent")
	write(t, agent, []byte("agent"))
	_, plain, err := c.Boot(t.Context(), k.Digest, agent)
	must(t, err)
	_, full, err := c.BootFull(t.Context(), k.Digest, agent)
	must(t, err)
	first, err := os.ReadFile(plain)
	must(t, err)
	second, err := os.ReadFile(full)
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Error("they differ")
	}
}
