package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/host/apt"
	"banger/internal/host/execx"
	"banger/internal/paths"
)

// tinyModule is an ELF with nothing but a .modinfo section.
func tinyModule(info string) []byte {
	const head = 64
	names := "\x00.modinfo\x00.shstrtab\x00"
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	sections := uint64(head + len(info) + len(names))
	for _, v := range []any{uint16(1), uint16(62), uint32(1), uint64(0), uint64(0), sections, uint32(0), uint16(64),
		uint16(0), uint16(0), uint16(64), uint16(3), uint16(2)} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.WriteString(info + names)
	section := func(name, kind uint32, offset, size uint64) {
		for _, v := range []any{name, kind, uint64(0), uint64(0), offset, size, uint32(0), uint32(0), uint64(1), uint64(0)} {
			binary.Write(&b, binary.LittleEndian, v)
		}
	}
	section(0, 0, 0, 0)
	section(1, 1, head, uint64(len(info)))
	section(uint32(strings.Index(names, ".shstrtab")), 3, uint64(head+len(info)), uint64(len(names)))
	return b.Bytes()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

const fakeRelease = "6.1.0-bz"

// fakeTree makes what a kernel package holds: the modules that a guest wants are
// there, depend on others, and ext4 is built in. mark tells one kernel from
// another.
func fakeTree(t *testing.T, root, mark string) {
	t.Helper()
	write(t, filepath.Join(root, "boot/vmlinuz-"+fakeRelease), tinyBzImage(gzipped(append(tinyKernel(noteEntry), mark...))))
	modules := filepath.Join(root, "lib/modules", fakeRelease)
	write(t, filepath.Join(modules, "modules.builtin"), []byte("kernel/fs/ext4/ext4.ko\n"))
	for path, info := range map[string]string{
		"virtio/virtio.ko": "depends=virtio_ring", "virtio/virtio_ring.ko": "depends=", "virtio/virtio_mmio.ko": "depends=virtio,virtio_ring",
		"char/virtio_console.ko": "depends=virtio", "block/virtio_blk.ko": "softdep=pre: absent-one crc-thing post: never\x00depends=virtio",
		"lib/crc-thing.ko": "depends=", "net/virtio_net.ko": "depends=net_failover,virtio", "net/net_failover.ko": "depends=failover",
		"net/failover.ko": "depends=", "net/unwanted.ko": "depends=",
		"vsock/vsock.ko": "depends=", "vsock/vmw_vsock_virtio_transport_common.ko": "depends=vsock",
		"vsock/vmw_vsock_virtio_transport.ko": "depends=virtio,vmw_vsock_virtio_transport_common,vsock,virtio_ring",
	} {
		write(t, filepath.Join(modules, "kernel", path), tinyModule("license=GPL\x00"+info+"\x00"))
	}
}

// fakeOrder is what fakeTree's modules are loaded in.
const fakeOrder = "virtio_ring virtio virtio_mmio virtio_console crc_thing virtio_blk failover net_failover virtio_net " + fakeVsock

const fakeVsock = "vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport"

// fakeApt stands for the host's apt: programs in the PATH that offer one kernel
// package and count what they are asked.
type fakeApt struct{ dir string }

func newFakeApt(t *testing.T) *fakeApt {
	t.Helper()
	f := &fakeApt{dir: t.TempDir()}
	f.publish(t, "first")
	script := `#!/bin/sh
dir=` + f.dir + `
case " $* " in
*" indextargets "*) printf 'Debian\thttp://deb.example.org/debian/\tbookworm\tbookworm\tmain\t%s/list:1\n' "$dir" ;;
*" update "*) echo update >>$dir/calls ;;
*" --print-uris "*) echo "'http://deb.example.org/k.deb' k.deb 1000 SHA256:0" ;;
*" download "*) echo download >>$dir/calls; [ ! -e $dir/hang ] || exec sleep 1000; [ ! -e $dir/broken ] || exit 100; sleep 0.2; cp $dir/k.deb . ;;
*" pkgnames "*) printf '%s\n' linux-image-cloud-amd64 linux-image-6.1.0-9-cloud-amd64 linux-image-6.1.0-bz linux-image-6.1.0-9-rt-amd64 linux-image-6.1.0-10-bz linux-image-6.1.0-9-bz linux-image-6.1-bz linux-image-6.1.0-10-bz-dbg ;;
*" show "*linux-image-6.1.0-9-bz*) for p in 9-bz bz 10-bz; do printf 'Package: linux-image-6.1.0-%s\nVersion: 1:6.1.1\nSize: 2000\n\n' $p; done; printf 'Package: linux-image-6.1-bz\nVersion: 2\nDepends: linux-image-6.1.0-bz (= 2)\n\n' ;;
*" show "*linux-image-cloud-*) echo "Depends: linux-image-6.1.0-bz (= 1)" ;;
*" show "*) echo "Depends: kmod" ;;
esac
`
	for _, name := range []string{"apt-get", "apt-cache"} {
		write(t, filepath.Join(f.dir, "bin", name), []byte(script))
		if err := os.Chmod(filepath.Join(f.dir, "bin", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(f.dir, "list"), []byte("deb http://deb.example.org/debian bookworm main\n"))
	t.Setenv("PATH", filepath.Join(f.dir, "bin")+":"+os.Getenv("PATH"))
	return f
}

// publish puts another build of the kernel into the archive.
func (f *fakeApt) publish(t *testing.T, mark string) {
	t.Helper()
	if _, err := execx.LookPath("dpkg-deb", ""); err != nil {
		t.Skipf("NOT TESTED: pulls of kernels, because this host has no dpkg-deb")
	}
	root := t.TempDir()
	fakeTree(t, root, mark)
	write(t, filepath.Join(root, "DEBIAN/control"), []byte("Package: linux-image\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"))
	must(t, execx.Run(t.Context(), execx.Cmd{Name: "dpkg-deb", Args: []string{"-Znone", "--root-owner-group", "-b", root, filepath.Join(f.dir, "k.deb")}}))
}

func (f *fakeApt) switchOn(t *testing.T, what string) { write(t, filepath.Join(f.dir, what), nil) }
func (f *fakeApt) switchOff(t *testing.T, what string) {
	must(t, os.Remove(filepath.Join(f.dir, what)))
}

// calls returns how often apt was asked to do something.
func (f *fakeApt) calls(what string) int {
	data, _ := os.ReadFile(filepath.Join(f.dir, "calls"))
	return strings.Count(string(data), what+"\n")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCache(t *testing.T) *Cache {
	t.Helper()
	return newCacheIn(t, filepath.Join(t.TempDir(), "data"))
}

// newCacheIn makes a cache whose data is in a directory.
func newCacheIn(t *testing.T, data string) *Cache {
	t.Helper()
	dir := t.TempDir()
	p := paths.Paths{Data: data, Cache: filepath.Join(dir, "cache"), Config: dir}
	c, err := Open(p, apt.New(p.Apt()))
	must(t, err)
	return c
}

// nothingStaged proves that no work was left behind.
func nothingStaged(t *testing.T, c *Cache) {
	t.Helper()
	own, err := c.store.Stage()
	must(t, err)
	must(t, os.Remove(own))
	if left, err := os.ReadDir(filepath.Dir(own)); err != nil || len(left) != 0 {
		t.Errorf("in the staging directory: %v, %v", left, err)
	}
}

func quiet(api.Progress) {}

// importFake imports a fake kernel as name.
func importFake(t *testing.T, c *Cache, name string) (api.Kernel, error) {
	t.Helper()
	root := t.TempDir()
	fakeTree(t, root, name)
	return c.Import(t.Context(), api.ImportKernel{
		Path: filepath.Join(root, "boot/vmlinuz-"+fakeRelease), Modules: filepath.Join(root, "lib/modules", fakeRelease), Name: name,
	}, quiet)
}

// order reads in which order a kernel's modules are loaded.
func order(t *testing.T, c *Cache, k api.Kernel) string {
	t.Helper()
	m, err := c.meta(strings.TrimPrefix(k.Digest, "sha256:"))
	must(t, err)
	var names []string
	for i, file := range m.Modules {
		if !strings.HasPrefix(file, fmt.Sprintf("%02d-", i)) {
			t.Errorf("module %d is in the file %s", i, file)
		}
		names = append(names, loadName(file))
	}
	return strings.Join(names, " ")
}
