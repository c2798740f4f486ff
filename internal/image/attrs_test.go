package image

import (
	"archive/tar"
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"banger/api"
)

// capability is CAP_NET_RAW, permitted and effective, as a file has it on its disk
// (struct vfs_cap_data of linux/capability.h, revision 2).
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// TestAttributesAreKept: a ping that may open raw sockets keeps that, whoever
// imports it; and attributes that mean something to nobody are told of.
func TestAttributesAreKept(t *testing.T) {
	c, ctx := open(t), context.Background()
	with := func(name string, records map[string]string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: "x", Uid: 1, Gid: 2, Format: tar.FormatPAX, PAXRecords: records}
	}
	data := archive(t,
		with("bin/ping", map[string]string{"SCHILY.xattr.security.capability": capability}),
		with("bin/noted", map[string]string{"SCHILY.xattr.user.note": "hello"}),
		with("bin/large", map[string]string{"SCHILY.xattr.user.large": strings.Repeat("x", 10_000), "SCHILY.xattr.user.small": "1"}),
		with("bin/odd", map[string]string{"SCHILY.xattr.nonsense": "x", "SCHILY.xattr.no.such.thing": "y"}),
	)
	var mu sync.Mutex
	var told strings.Builder
	img, err := c.Import(ctx, api.ImportImage{Path: save(t, data), Name: "attrs"}, func(p api.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Step == api.StepNote {
			told.WriteString(p.Message + "\n")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.String(), "extended attributes left out of the image: 3,") {
		t.Errorf("not told what was left out:\n%s", told.String())
	}
	base, err := c.Disk(ctx, img.Digest, img.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	fsck(t, base)
	for request, want := range map[string]string{
		"ea_list /bin/ping":  "security.capability (20) = 01 00 00 02 00 20 00 00",
		"ea_list /bin/noted": `user.note (5) = "hello"`,
		"ea_list /bin/large": `user.small (1) = "1"`,
		"stat /bin/ping":     "User:     1   Group:     2",
	} {
		if got := debugfs(t, base, request); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
	}
}

// TestImportOfBzip2 imports what bzip2 itself wrote.
func TestImportOfBzip2(t *testing.T) {
	data := busybox(t)
	cmd := exec.Command("bzip2", "-c")
	cmd.Stdin = strings.NewReader(string(data))
	packed, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("NOT TESTED: an archive compressed with bzip2, because this host has no bzip2")
	}
	if err != nil {
		t.Fatal(err)
	}
	c := open(t)
	plain, err := c.Import(t.Context(), api.ImportImage{Path: save(t, data), Name: "plain"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	img, err := c.Import(t.Context(), api.ImportImage{Path: save(t, packed), Name: "packed"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []api.Image{plain, img} {
		base, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
		if err != nil {
			t.Fatal(err)
		}
		if got := debugfs(t, base, "cat /home/me/f"); !strings.Contains(got, "hello") {
			t.Errorf("%v: %s", i.Names, got)
		}
	}
	if _, err := c.Import(t.Context(), api.ImportImage{Path: save(t, packed[:len(packed)-9]), Name: "cut"}, silent); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a cut archive: %v", err)
	}
}
