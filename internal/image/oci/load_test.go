package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"banger/api"
)

// files are a directory or an archive of images, as they are made by the programs that
// people use.
type files map[string]string

func (f files) fs() fs.FS {
	m := fstest.MapFS{}
	for name, text := range f {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// blob adds a blob and returns its descriptor, with more fields.
func (f files) blob(kind, data, more string) string {
	f["blobs/"+strings.Replace(Digest([]byte(data)), ":", "/", 1)] = data
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, kind, Digest([]byte(data)), len(data), more)
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// image adds an image of one layer, and returns its descriptor and its configuration.
func (f files) image(arch, content, more string) (descriptor, config string) {
	config = fmt.Sprintf(`{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, arch, Digest([]byte(content)))
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, f.blob(ociConfig, config, ""), f.blob(ociLayer, content, ""))
	return f.blob(ociManifest, manifest, more), config
}

func (f files) artifact() string {
	manifest := fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/x-sbom","config":%s,"layers":[]}`,
		f.blob("application/vnd.oci.empty.v1+json", "{}", ""))
	return f.blob(ociManifest, manifest, "")
}

func (f files) index(manifests ...string) files {
	f["oci-layout"] = `{"imageLayoutVersion":"1.0.0"}`
	f["index.json"] = fmt.Sprintf(`{"schemaVersion":2,"manifests":[%s]}`, strings.Join(manifests, ","))
	return f
}

// save adds what `docker save` writes of images in the repository, by their contents.
func (f files) save(contents ...string) files {
	var all []saved
	for _, content := range contents {
		config := fmt.Sprintf(`{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, Digest([]byte(content)))
		name := hexOf(Digest([]byte(config))) + ".json"
		f[name], f[content+"/layer.tar"] = config, content
		all = append(all, saved{Config: name, RepoTags: []string{content + ":latest"}, Layers: []string{content + "/layer.tar"}})
	}
	raw, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	f["manifest.json"] = string(raw)
	return f
}

func platform(arch string) string {
	return fmt.Sprintf(`,"platform":{"os":"linux","architecture":%q}`, arch)
}

func named(platform, name string) string {
	return platform + fmt.Sprintf(`,"annotations":{"io.containerd.image.name":"docker.io/library/%s"}`, name)
}

// TestLoad: which image is taken of what people bring, and where none is guessed.
func TestLoad(t *testing.T) {
	here, other := runtime.GOARCH, map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	one := func(f files, arch, content, more string) string { d, _ := f.image(arch, content, more); return d }
	several := func(more func(name string) string) func() files {
		return func() files {
			f := files{}
			return f.index(one(f, here, "A", more("a:1")), one(f, here, "B", more("b:1")))
		}
	}
	for name, tt := range map[string]struct {
		files func() files
		which string
		layer string // content of the image's layer
		err   string
	}{
		"one":                      {files: func() files { f := files{}; return f.index(one(f, here, "A", "")) }, layer: "A"},
		"two":                      {files: several(func(string) string { return "" }), err: "it contains 2 images, but only one can be imported"},
		"two with platforms":       {files: several(func(n string) string { return named(platform(here), n) }), err: "it contains 2 images, but only one can be imported: docker.io/library/a:1, docker.io/library/b:1"},
		"the second by name":       {files: several(func(n string) string { return named(platform(here), n) }), which: "b:1", layer: "B"},
		"the second by whole name": {files: several(func(n string) string { return named(platform(here), n) }), which: "docker.io/library/b:1", layer: "B"},
		"none of that name":        {files: several(func(n string) string { return named("", n) }), which: "c", err: `it contains no image "c": docker.io/library/a:1, docker.io/library/b:1`},
		"one under two names": {files: func() files {
			f := files{}
			return f.index(one(f, here, "A", named("", "a:1")), one(f, here, "A", named("", "a:2")))
		}, layer: "A"},
		"two platforms": {files: func() files {
			f := files{}
			return f.index(one(f, other, "O", platform(other)), one(f, here, "A", platform(here)))
		}, layer: "A"},
		"two platforms, unsaid": {files: func() files { f := files{}; return f.index(one(f, other, "O", ""), one(f, here, "A", "")) }, layer: "A"},
		"another platform":      {files: func() files { f := files{}; return f.index(one(f, other, "O", "")) }, err: "it is for linux/" + other},
		"an artifact before":    {files: func() files { f := files{}; return f.index(f.artifact(), one(f, here, "A", platform(here))) }, layer: "A"},
		"an artifact alone":     {files: func() files { f := files{}; return f.index(f.artifact()) }, err: `not an image of a file system, but "application/x-sbom"`},
		"an index in it": {files: func() files {
			f := files{}
			return f.index(f.blob(ociIndex, `{"schemaVersion":2,"manifests":[`+one(f, other, "O", platform(other))+","+one(f, here, "A", platform(here))+`]}`, named("", "a:1")))
		}, which: "a:1", layer: "A"},
		"a layer is missing": {files: func() files {
			f := files{}
			f.index(one(f, here, "A", ""))
			delete(f, "blobs/sha256/"+hexOf(Digest([]byte("A"))))
			return f
		}, err: "the image is incomplete"},
		"saved":                     {files: func() files { return files{}.save("A") }, layer: "A"},
		"two saved":                 {files: func() files { return files{}.save("A", "B") }, err: "it contains 2 images, but only one can be imported: A:latest, B:latest"},
		"the second saved":          {files: func() files { return files{}.save("A", "B") }, which: "B", layer: "B"},
		"saved with an empty index": {files: func() files { return files{"index.json": `{"schemaVersion":2,"manifests":null}`}.save("A") }, layer: "A"},
		"saved, index of no layers": {files: func() files {
			f := files{}.save("A")
			config := f[hexOf(Digest([]byte(fmt.Sprintf(`{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, here, Digest([]byte("A"))))))+".json"]
			return f.index(f.blob(ociManifest, `{"schemaVersion":2,"config":`+f.blob(ociConfig, config, "")+`,"layers":[]}`, ""))
		}, layer: "A"},
		"saved, and two in the index": {files: func() files { f := several(func(string) string { return "" })(); return f.save("A") }, err: "it contains 2 images, but only one can be imported"},
		"a layout without an index":   {files: func() files { return files{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "blobs/sha256/00": ""} }, err: "it is an incomplete OCI layout"},
		"Docker before 1.10": {files: func() files {
			return files{"repositories": `{"app":{"latest":"` + hexOf(idA) + `"}}`, hexOf(idA) + "/layer.tar": ""}
		}, err: "Docker before 1.10"},
		"skopeo's dir": {files: func() files {
			f := files{}
			d, config := f.image(here, "A", "")
			_ = d
			g := files{"version": "Directory Transport Version: 1.1\n", hexOf(Digest([]byte(config))): config, hexOf(Digest([]byte("A"))): "A"}
			for name, text := range f {
				if strings.Contains(text, "layers\":[{") {
					g["manifest.json"] = f[name]
				}
			}
			return g
		}, layer: "A"},
		"a root with files of these names": {files: func() files {
			return files{"manifest.json": `{"name":"web app","icons":[]}`, "index.json": `{"a":1}`, "repositories": "deb http://example.org", "oci-layout": "no", "bin/sh": ""}
		}},
		"a root with lists in them": {files: func() files { return files{"manifest.json": `[{"src":"x"}]`, "index.json": `[]`, "bin/sh": ""} }},
	} {
		t.Run(name, func(t *testing.T) {
			f := tt.files()
			for kind, from := range map[string]fs.FS{"directory": f.fs(), "archive": f.tar(t)} {
				i, ok, err := Load(from, here, tt.which)
				if ok != (tt.layer != "" || tt.err != "") {
					t.Fatalf("%s: is an image: %v, %v", kind, ok, err)
				}
				if tt.err != "" {
					if err == nil || !strings.Contains(err.Error(), tt.err) {
						t.Errorf("%s: got %v\nwant %s", kind, err, tt.err)
					}
					continue
				}
				if tt.layer == "" {
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				r, err := i.Layers[0].Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if data, err := io.ReadAll(r); err != nil || string(data) != tt.layer {
					t.Errorf("%s: got the image of %q, %v", kind, data, err)
				}
			}
			marked := false
			for name, text := range f {
				marked = marked || Marks(name, []byte(text))
			}
			if want := tt.layer != "" || tt.err != ""; marked != want {
				t.Errorf("Marks says %v", marked)
			}
		})
	}
}

// tar is the same as an archive, whose documents come last.
func (f files) tar(t *testing.T) fs.FS {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	names := slices.SortedFunc(maps.Keys(f), func(a, b string) int {
		return slices.Index(Documents(), a) - slices.Index(Documents(), b) + strings.Compare(a, b)
	})
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Size: int64(len(f[name])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	opened, err := OpenTar(bytes.NewReader(b.Bytes()), bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestTypes(t *testing.T) {
	for _, good := range []string{
		ociLayer, ociLayer + "+gzip", ociLayer + "+zstd", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "",
		"application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/octet-stream",
	} {
		m := fmt.Sprintf(`{"config":{"mediaType":%q,"digest":%q},"layers":[{"mediaType":%q,"digest":%q}]}`, ociConfig, idA, good, idB)
		if _, err := ParseManifest([]byte(m)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"application/vnd.in-toto+json", ociLayer + "+encrypted", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "text/html"} {
		m := fmt.Sprintf(`{"config":{"mediaType":%q,"digest":%q},"layers":[{"mediaType":%q,"digest":%q}]}`, ociConfig, idA, bad, idB)
		if _, err := ParseManifest([]byte(m)); api.KindOf(err) != api.KindUnsupported {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
