package feature

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/internal/image/oci/registrytest"
	"banger/internal/workspace/jsonc"
)

// fixture is a workspace, and a registry with features.
type fixture struct {
	*registrytest.Registry
	t     *testing.T
	top   string
	cache string
	ca    string // path of the registry's authority; "" if it has none
}

func newFixture(t *testing.T, o registrytest.Options) *fixture {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", home)
	fx := &fixture{Registry: registrytest.Start(o), t: t, top: t.TempDir(), cache: filepath.Join(home, "features")}
	t.Cleanup(fx.Close)
	return fx
}

// entry is an entry of an archive.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// described is an archive with this description.
func described(t *testing.T, metadata string) []byte {
	t.Helper()
	return archive(t, file("./devcontainer-feature.json", metadata), file("./install.sh", "#!/bin/sh\n"))
}

// push publishes a feature.
func (fx *fixture) push(nameTag string, data []byte) string {
	fx.t.Helper()
	digest, err := fx.PushArtifact(nameTag, registrytest.Artifact{Config: "application/vnd.devcontainers", Layer: artifact.Layer, Data: data})
	if err != nil {
		fx.t.Fatal(err)
	}
	return digest
}

// local makes a feature in the workspace.
func (fx *fixture) local(dir, metadata string) {
	fx.t.Helper()
	for name, content := range map[string]string{metadataFile: metadata, installFile: "#!/bin/sh\n"} {
		fx.write(filepath.Join(folder, dir, name), content)
	}
}

func (fx *fixture) write(name, content string) {
	fx.t.Helper()
	path := filepath.Join(fx.top, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		fx.t.Fatal(err)
	}
}

// wanted parses an object of features, in which HOST is the registry.
func (fx *fixture) wanted(features string, override ...string) Wanted {
	fx.t.Helper()
	w := Wanted{Top: fx.top, From: folder}
	all, err := jsonc.Members([]byte(fx.named(features)))
	if err != nil {
		fx.t.Fatal(err)
	}
	for _, m := range all {
		r, err := ParseRequest(m, folder)
		if err != nil {
			fx.t.Fatal(err)
		}
		w.Features = append(w.Features, r)
	}
	for _, text := range override {
		id, err := ParseID(fx.named(text), folder)
		if err != nil {
			fx.t.Fatal(err)
		}
		w.Override = append(w.Override, id)
	}
	return w
}

func (fx *fixture) named(text string) string { return strings.ReplaceAll(text, "HOST", fx.Host) }

func (fx *fixture) resolve(w Wanted) (*Set, error) {
	fx.t.Helper()
	c, err := OpenCache(fx.t.Context(), fx.cache, Registries{CAFile: fx.ca})
	if err != nil {
		fx.t.Fatal(err)
	}
	defer c.Close()
	set, err := c.Resolve(fx.t.Context(), w, nil)
	if err == nil {
		fx.t.Cleanup(set.Close)
	}
	return set, err
}

// order are the ids of a set, with HOST for the registry.
func (fx *fixture) order(s *Set) (all []string) {
	for _, f := range s.Features {
		all = append(all, strings.ReplaceAll(f.ID.String(), fx.Host, "HOST"))
	}
	return all
}

// unpacked are the entries of a stream: the kind and mode, with the content or target, by name.
func unpacked(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for stream := tar.NewReader(r); ; {
		h, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = string(h.Typeflag) + " " + h.FileInfo().Mode().Perm().String() + " " + h.Linkname + string(content)
	}
}

func keys(m map[string]string) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

func tarDir(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o700}
}

func link(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}}
}

// bomb is an archive of a few hundred kilobytes with a header that never ends.
func bomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	h := archive(t, entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": strings.Repeat("x", 7000)}}})
	for range 2 * maxBytes / 8192 * 2 {
		if _, err := w.Write(h[:len(h)-1024]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var imageConfig = v1.Config{}
