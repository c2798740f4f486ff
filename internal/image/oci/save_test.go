package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"banger/api"
)

// single is an image of one layer with one file.
func single(t *testing.T, name, familiar string) Single {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 1, Mode: 0o644}))
	_, writeErr := w.Write([]byte("x"))
	if err := errors.Join(err, writeErr, w.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return Single{
		Name: name, Familiar: familiar, Arch: runtime.GOARCH, CreatedAt: time.Unix(1700000000, 0).UTC(),
		Config:  api.ImageConfig{Env: []string{"A=1"}, ExposedPorts: []string{"80/tcp"}},
		History: []api.ImageHistory{{CreatedBy: "RUN"}},
		Digest:  "sha256:" + hex.EncodeToString(sum[:]), Size: int64(b.Len()),
		Write: func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err },
	}
}

// archived writes an archive of an image.
func archived(t *testing.T, a Archive, err error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err == nil {
		err = a.Write(&b)
	}
	size, sizeErr := a.Size()
	if err = errors.Join(err, sizeErr); err != nil || size != int64(b.Len()) {
		t.Fatalf("%d bytes of %d: %v", b.Len(), size, err)
	}
	return b.Bytes()
}

// TestLayoutIsRead has another program's reader check a layout: all digests and
// sizes, and that configuration and layer belong together.
func TestLayoutIsRead(t *testing.T) {
	a, err := single(t, "docker.io/work/app:1", "work/app:1").Layout()
	dir := t.TempDir()
	archive := tar.NewReader(bytes.NewReader(archived(t, a, err)))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		data, readErr := io.ReadAll(archive)
		file := filepath.Join(dir, h.Name)
		if err := errors.Join(err, readErr, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The layers' content is looked at below: validate takes every layer for compressed.
	if err := validate.Index(index, validate.Fast); err != nil {
		t.Error(err)
	}
	checkBlobs(t, dir)
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Annotations["io.containerd.image.name"] != "docker.io/work/app:1" ||
		m.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1" || m.Manifests[0].Platform.String() != "linux/"+runtime.GOARCH {
		t.Errorf("its index is %+v, %v", m, err)
	}
}

// checkBlobs looks whether all files are what their names say.
func checkBlobs(t *testing.T, dir string) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil || len(blobs) != 3 {
		t.Fatalf("%q, %v", blobs, err)
	}
	for _, blob := range blobs {
		data, err := os.ReadFile(blob)
		if err != nil || Digest(data) != "sha256:"+filepath.Base(blob) {
			t.Errorf("%s is %s, %v", blob, Digest(data), err)
		}
	}
}

// TestSavedIsRead does the same with an archive for docker load.
func TestSavedIsRead(t *testing.T) {
	a, err := single(t, "docker.io/work/app:1", "work/app:1").Saved()
	data := archived(t, a, err)
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	file, err := img.ConfigFile()
	if err != nil || file.Config.Env[0] != "A=1" || len(file.History) != 2 || !file.History[0].EmptyLayer || file.History[1].EmptyLayer {
		t.Errorf("its configuration is %+v, %v", file, err)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if err != nil || len(manifest) != 1 || len(manifest[0].RepoTags) != 1 || manifest[0].RepoTags[0] != "work/app:1" {
		t.Errorf("its manifest is %+v, %v", manifest, err)
	}
}

// TestSavedWithoutName: a digest is no tag, and neither is nothing.
func TestSavedWithoutName(t *testing.T) {
	for _, name := range []string{"", "docker.io/a/b@" + idA} {
		a, err := single(t, name, name).Saved()
		data := archived(t, a, err)
		manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil || len(manifest[0].RepoTags) != 0 {
			t.Errorf("%q: %+v, %v", name, manifest, err)
		}
	}
	for name, want := range map[string]string{"": "", "docker.io/a:1": "1", "localhost:5000/a": "", "localhost:5000/a:b": "b", "docker.io/a@" + idA: ""} {
		if got := tagOf(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}
