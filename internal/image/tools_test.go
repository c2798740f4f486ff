package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
)

// need skips a test where a program of others is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("NOT RUN: there is no %s: apt-get install %s", name, name)
		}
	}
}

// tool runs a program. Skopeo and umoci give files to whom an archive names: an ordinary
// user runs them where he is root (user_namespaces(7)), as buildah does by itself.
func tool(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	if os.Geteuid() != 0 && name != "buildah" {
		cmd = exec.Command("unshare", append([]string{"--map-auto", "--map-root-user", name}, args...)...)
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "STORAGE_DRIVER=vfs", "BUILDAH_ISOLATION=chroot")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// contentOf is the content of a file of an image.
func contentOf(t *testing.T, c *Cache, i api.Image, name string) string {
	t.Helper()
	base, err := c.Disk(t.Context(), i.Digest, i.DiskBytes, silent)
	if err != nil {
		t.Fatal(err)
	}
	fsck(t, base)
	_, text, _ := strings.Cut(debugfs(t, base, "cat "+name), "\n") // behind its version
	return text
}

// TestRealTools imports what the programs write that people use, and has them read what
// is exported.
func TestRealTools(t *testing.T) {
	need(t, "skopeo", "umoci")
	c, dir := open(t), t.TempDir()
	// An image of two layers in a layout: the second writes through a link of the first.
	tool(t, dir, "umoci", "init", "--layout", "l")
	tool(t, dir, "umoci", "new", "--image", "l:app")
	for _, data := range [][]byte{
		archive(t, dirEntry("usr/lib/"), fileEntry("usr/lib/a", "1"), symlinkEntry("lib", "usr/lib"), dirEntry("bin/"), fileEntry("bin/sh", "x")),
		archive(t, fileEntry("lib/b", "2\n"), fileEntry("lib/.wh.a", "")),
	} {
		file := filepath.Join(dir, "layer.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		tool(t, dir, "umoci", "raw", "add-layer", "--image", "l:app", file)
	}
	tool(t, dir, "umoci", "config", "--image", "l:app", "--config.volume", "/vol", "--author", "me")
	for kind, to := range map[string]string{
		"layout": "oci:m:app", "oci-archive": "oci-archive:m.tar:app", "docker-archive": "docker-archive:d.tar:app:latest", "dir": "dir:plain",
	} {
		tool(t, dir, "skopeo", "--insecure-policy", "copy", "oci:l:app", to)
		path := filepath.Join(dir, strings.Split(to, ":")[1])
		i, err := c.Import(t.Context(), api.ImportImage{Path: path, Name: "app"}, silent)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if got := contentOf(t, c, i, "/usr/lib/b"); !strings.Contains(got, "2") {
			t.Errorf("%s: what was written through a link: %q", kind, got)
		}
	}
	// Two images in a layout: none is guessed, and each can be had.
	tool(t, dir, "umoci", "new", "--image", "l:other")
	tool(t, dir, "umoci", "raw", "add-layer", "--image", "l:other", filepath.Join(dir, "layer.tar"))
	if _, err := c.Import(t.Context(), api.ImportImage{Path: filepath.Join(dir, "l"), Name: "app"}, silent); err == nil || !strings.Contains(err.Error(), "it contains 2 images, but only one can be imported") {
		t.Errorf("two images: %v", err)
	}
	if _, err := c.Import(t.Context(), api.ImportImage{Path: filepath.Join(dir, "l"), Name: "app", Image: "app"}, silent); err != nil {
		t.Errorf("one of two: %v", err)
	}
	// What is exported is read by others, with its configuration.
	for format, transport := range map[string]string{api.ExportOCI: "oci-archive:", api.ExportDocker: "docker-archive:"} {
		file := save(t, exported(t, c, "app", format))
		config := tool(t, dir, "skopeo", "--insecure-policy", "inspect", "--config", transport+file)
		if !strings.Contains(config, `"Volumes"`) || !strings.Contains(config, `"author": "me"`) {
			t.Errorf("%s: the configuration is %s", format, config)
		}
		tool(t, dir, "skopeo", "--insecure-policy", "copy", transport+file, "oci:back-"+format+":x")
		tool(t, dir, "umoci", "unpack", "--image", "back-"+format+":x", "bundle-"+format)
		if data, err := os.ReadFile(filepath.Join(dir, "bundle-"+format, "rootfs/lib/b")); err != nil || string(data) != "2\n" {
			t.Errorf("%s: umoci unpacks %q, %v", format, data, err)
		}
	}
}

// TestRealBuildah imports what buildah makes, with all that a Dockerfile can say.
func TestRealBuildah(t *testing.T) {
	need(t, "buildah")
	c, dir := open(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY f /bin/sh\nVOLUME /vol/data\nWORKDIR srv\nENV A=1\nHEALTHCHECK CMD x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("hello"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // directories in its storage may not be written, not even by their owner
		if out, err := exec.Command("chmod", "-R", "u+rwX", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	root := []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
	tool(t, dir, "buildah", append(root, "bud", "--format", "docker", "-t", "built", ".")...)
	for _, to := range []string{"oci-archive:o.tar", "docker-archive:d.tar"} {
		tool(t, dir, "buildah", append(root, "push", "built", to)...)
		i, err := c.Import(t.Context(), api.ImportImage{Path: filepath.Join(dir, strings.Split(to, ":")[1]), Name: "built"}, silent)
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		if got := contentOf(t, c, i, "/bin/sh"); !strings.Contains(got, "hello") || i.Config == nil || len(i.Config.Env) == 0 {
			t.Errorf("%s: %q, %+v", to, got, i.Config)
		}
	}
}
