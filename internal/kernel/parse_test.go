package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/golden"
)

// tinyKernel is an ELF with nothing but a PVH note.
func tinyKernel(kind uint32) []byte {
	note := append(binary.LittleEndian.AppendUint32(nil, 4), 4, 0, 0, 0)
	note = binary.LittleEndian.AppendUint32(note, kind)
	note = append(note, "Xen\x00\x00\x00\x00\x01"...)
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	for _, v := range []any{uint16(2), uint16(62), uint32(1), uint64(0), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(4), uint32(4), uint64(120), uint64(0), uint64(0), uint64(len(note)), uint64(len(note)), uint64(4)} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(note)
	b.WriteString("Linux version 6.1.0-test (builder) #1")
	return b.Bytes()
}

// tinyBzImage wraps a payload in a boot image.
func tinyBzImage(payload []byte) []byte {
	head := make([]byte, 2*sector)
	head[offSetupSects] = 1
	copy(head[offMagic:], "HdrS")
	binary.LittleEndian.PutUint16(head[offVersion:], 0x20f)
	binary.LittleEndian.PutUint16(head[offKernelVersion:], 0x100)
	copy(head[0x300:], "6.1.0-bz (x) #1\x00")
	binary.LittleEndian.PutUint32(head[offPayloadLength:], uint32(len(payload)))
	return append(head, payload...)
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func TestExtract(t *testing.T) {
	elf := tinyKernel(noteEntry)
	sized := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, uint32(len(elf))) }
	compressed := map[string][]byte{"none": sized(bytes.Clone(elf)), "gzip": gzipped(elf)}
	for name, argv := range map[string][]string{
		"xz": {"xz", "-c", "--check=crc32"}, "xz with the x86 filter": {"xz", "-c", "--check=crc32", "--x86", "--lzma2=dict=1MiB"},
		"zstd": {"zstd", "-c"}, "lz4": {"lz4", "-l", "-c", "-"},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = bytes.NewReader(elf)
		out, err := cmd.Output()
		if errors.Is(err, exec.ErrNotFound) {
			t.Logf("NOT TESTED: a kernel compressed with %s, because this host has no %s", name, argv[0])
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		compressed[name] = sized(out)
	}
	for name, payload := range compressed {
		v, err := extract(tinyBzImage(payload))
		if err != nil || !bytes.Equal(bytes.TrimRight(v.image, "\x00"), bytes.TrimRight(elf, "\x00")) || v.release != "6.1.0-bz" {
			t.Errorf("%s: release %q, %d bytes, %v", name, v.release, len(v.image), err)
		}
	}
	if v, err := extract(elf); err != nil || v.release != "6.1.0-test" {
		t.Errorf("plain: %q, %v", v.release, err)
	}
}

func TestExtractRefuses(t *testing.T) {
	good := tinyBzImage(gzipped(tinyKernel(noteEntry)))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":   {nil, "its compression is not supported"},
		"text":    {[]byte("#!/bin/sh"), "its compression is not supported"},
		"cut off": {good[:len(good)-9], "cut off"},
		"no PVH":  {tinyKernel(7), "PVH"},
	} {
		if _, err := extract(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(tinyKernel(noteEntry))
	f.Add(tinyBzImage(gzipped(tinyKernel(noteEntry))))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = extract(data)
		_, _ = parseModinfo(data)
	})
}

func TestCpio(t *testing.T) {
	var b bytes.Buffer
	if err := writeInitramfs(&b, []byte("agent"), []module{{name: "virtio", data: []byte("ko")}}); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := writeInitramfs(&again, []byte("agent"), []module{{name: "virtio", data: []byte("ko")}}); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("not the same bytes twice: %v", err)
	}
	golden.Check(t, "initramfs.golden", b.String())
	cmd := exec.Command("cpio", "-t", "--quiet")
	cmd.Stdin = &b
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Log("NOT TESTED: the initramfs against cpio, which this host lacks")
	} else if want := "dev\nproc\nsys\nnewroot\nmodules\ndev/console\ndev/null\ninit\nmodules/00-virtio.ko\n"; err != nil || string(out) != want {
		t.Errorf("cpio lists %q, %v", out, err)
	}
}

func TestMissingModule(t *testing.T) {
	dir := t.TempDir()
	if _, err := openModules(dir, readFile); api.KindOf(err) != api.KindInvalid {
		t.Errorf("no modules.builtin: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/ext4/ext4.ko\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := openModules(dir, readFile)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tree.resolve([]string{"ext4"}); err != nil || len(got) != 0 {
		t.Errorf("built in: %v, %v", got, err)
	}
	if _, err := tree.resolve([]string{"virtio-blk"}); err == nil || !strings.Contains(err.Error(), "virtio-blk is neither built in") {
		t.Errorf("missing: %v", err)
	}
}

func TestPreDeps(t *testing.T) {
	if got := strings.Join(preDeps("pre: a b-c post: d"), " "); got != "a b-c" {
		t.Errorf("got %q", got)
	}
}
