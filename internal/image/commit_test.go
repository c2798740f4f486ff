package image

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/host/execx"
)

// TestCommit: the disk of a VM becomes an image of its own, small again, with what
// a guest wrote, and the configuration of the image before it.
func TestCommit(t *testing.T) {
	c := open(t)
	path := filepath.Join(t.TempDir(), "base.tar")
	if err := os.WriteFile(path, archive(t, tar.Header{Name: "etc/old", Typeflag: tar.TypeReg, Linkname: "from the image"}), 0o600); err != nil {
		t.Fatal(err)
	}
	base, err := c.Import(t.Context(), api.ImportImage{Path: path, Name: "base"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	const size = 256 * mib
	disk, err := c.Disk(t.Context(), base.Digest, size, silent)
	if err != nil {
		t.Fatal(err)
	}
	written := filepath.Join(t.TempDir(), "written")
	if err := os.WriteFile(written, []byte("by the guest"), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(ctx context.Context, to string) error {
		if err := cloneFile(ctx, disk, to, silent); err != nil {
			return err
		}
		return execx.Run(ctx, execx.Cmd{Name: "debugfs", Args: []string{"-w", "-R", "write " + written + " new", to}, Package: "e2fsprogs"})
	}
	made, err := c.Commit(t.Context(), "ready", base.Digest, "dev", silent, put)
	if err != nil {
		t.Fatal(err)
	}
	if made.Source != "VM dev" || strings.Join(made.Names, " ") != "ready" || made.DiskBytes >= size/2 || made.Digest == base.Digest {
		t.Errorf("made %+v", made)
	}
	grown, err := c.Disk(t.Context(), made.Digest, 2*size, silent)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/etc/old": "from the image", "/new": "by the guest"} {
		if got := debugfs(t, grown, "cat "+name); !strings.HasSuffix(got, want) {
			t.Errorf("%s is %q", name, got)
		}
	}
	fsck(t, grown)
}

func TestCommitFails(t *testing.T) {
	c := open(t)
	path := filepath.Join(t.TempDir(), "base.tar")
	if err := os.WriteFile(path, archive(t, tar.Header{Name: "x", Typeflag: tar.TypeReg}), 0o600); err != nil {
		t.Fatal(err)
	}
	base, err := c.Import(t.Context(), api.ImportImage{Path: path, Name: "base"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is broken")
	noise := func(_ context.Context, to string) error { return os.WriteFile(to, make([]byte, mib), 0o600) }
	for _, w := range []struct {
		name, base string
		put        func(context.Context, string) error
		says       string
	}{
		{"No Name", base.Digest, noise, "is not a valid name for an image"},
		{"ready", "sha256:" + strings.Repeat("0", 64), noise, "cannot read the record of image"},
		{"ready", base.Digest, func(context.Context, string) error { return broken }, "the disk is broken"},
		{"ready", base.Digest, noise, "its file system is damaged"}, // a guest may do that to its disk
	} {
		if _, err := c.Commit(t.Context(), w.name, w.base, "dev", silent, w.put); err == nil || !strings.Contains(err.Error(), w.says) {
			t.Errorf("%s of %.20s: %v, wanted: %s", w.name, w.base, err, w.says)
		}
	}
	if _, err := c.Commit(t.Context(), "ready", base.Digest, "dev", silent, noise); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a damaged disk is an error of kind %s: %v", api.KindOf(err), err)
	}
	if all, err := c.List(); err != nil || len(all) != 1 {
		t.Errorf("left %v, %v", all, err)
	}
}
