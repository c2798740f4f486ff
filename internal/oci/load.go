package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
)

// The files by which an image on a disk is known: those of an OCI layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md), and
// of `docker save`.
const (
	layoutIndex   = "index.json"
	savedManifest = "manifest.json"
)

// Load reads the image for arch that files hold: an OCI layout, or what `docker
// save` wrote. ok is false where they are neither.
func Load(files fs.FS, arch string) (i Image, ok bool, err error) {
	if raw, err := read(files, layoutIndex); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			i, err = loadLayout(files, raw, arch)
		}
		return i, true, err
	}
	raw, err := read(files, savedManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, false, nil
	}
	if err == nil {
		i, err = loadSaved(files, raw, arch)
	}
	return i, true, err
}

// read reads a document.
func read(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxDocument+1))
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot read %.80q: %w", name, err)
	}
	if len(data) > MaxDocument {
		return nil, api.Errorf(api.KindInvalid, "%.80q is larger than %d MiB", name, MaxDocument>>20)
	}
	return data, nil
}

// maxNesting is how deep indexes may be in each other: a layout's own, the
// image's of all platforms, and one to spare.
const maxNesting = 3

func loadLayout(files fs.FS, index []byte, arch string) (Image, error) {
	ref := ""
	for range maxNesting {
		found, err := fitting(index, arch)
		if err != nil {
			return Image{}, err
		}
		if ref == "" && len(found) > 1 && found[0].Digest != found[1].Digest && found[0].Platform == nil {
			return Image{}, several(len(found))
		}
		d := found[0]
		for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
			if ref == "" {
				ref = d.Annotations[key]
			}
		}
		raw, err := readBlob(files, d)
		if err != nil {
			return Image{}, err
		}
		if d.MediaType.IsIndex() {
			index = raw
			continue
		}
		return loadManifest(files, raw, ref)
	}
	return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: its indexes are nested too deep")
}

func loadManifest(files fs.FS, manifest []byte, ref string) (Image, error) {
	m, err := ParseManifest(manifest)
	if err != nil {
		return Image{}, err
	}
	config, err := readBlob(files, m.Config)
	if err != nil {
		return Image{}, err
	}
	i, err := Assemble(manifest, config, func(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		return openNamed(files, blobName(d), d.Digest.String())
	})
	i.Ref = ref
	return i, err
}

func several(n int) error {
	return api.Errorf(api.KindInvalid, "there are %d images in it, and one is asked for", n).
		WithHint("docker save --output FILE IMAGE   with one image")
}

func blobName(d v1.Descriptor) string { return path.Join("blobs", d.Digest.Algorithm, d.Digest.Hex) }

// readBlob reads a document by its digest.
func readBlob(files fs.FS, d v1.Descriptor) ([]byte, error) {
	if !IsDigest(d.Digest.String()) {
		return nil, api.Errorf(api.KindInvalid, "cannot use the image: %.80q is no SHA-256 digest", d.Digest)
	}
	data, err := read(files, blobName(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(d.Digest.String())
	}
	if err != nil {
		return nil, err
	}
	if got := Digest(data); got != d.Digest.String() || int64(len(data)) != d.Size {
		return nil, api.Errorf(api.KindInvalid, "%s of %d bytes has other content: it is %s of %d bytes", d.Digest, d.Size, got, len(data))
	}
	return data, nil
}

func missing(what string) error {
	return api.Errorf(api.KindInvalid, "the image is not whole: %.100s is missing", what)
}

func openNamed(files fs.FS, name, what string) (io.ReadCloser, error) {
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, missing(what)
	}
	return f, err
}

// saved is an image in the manifest.json of `docker save`
// (https://github.com/moby/moby/blob/master/image/tarexport/tarexport.go).
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func loadSaved(files fs.FS, raw []byte, arch string) (Image, error) {
	var all []saved
	if err := json.Unmarshal(raw, &all); err != nil {
		return Image{}, api.Errorf(api.KindInvalid, "cannot read %s: %w", savedManifest, err)
	}
	if len(all) != 1 {
		return Image{}, several(len(all))
	}
	s := all[0]
	config, err := read(files, path.Clean(s.Config))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return Image{}, missing(fmt.Sprintf("%q", s.Config))
	}
	if err != nil {
		return Image{}, err
	}
	// The configuration's name is its digest in every version that there was.
	hex := strings.TrimSuffix(strings.TrimPrefix(path.Base(s.Config), "sha256:"), ".json")
	if IsDigest("sha256:"+hex) && Digest(config) != "sha256:"+hex {
		return Image{}, api.Errorf(api.KindInvalid, "%.80q has other content: its digest is %s", s.Config, Digest(config))
	}
	i, err := ParseConfig(config)
	if err != nil {
		return Image{}, err
	}
	if err := i.Fits(arch); err != nil {
		return Image{}, err
	}
	return i.withSaved(files, s)
}

// withSaved adds where the layers are. Nothing but their diff ids says what
// they have to be.
func (i Image) withSaved(files fs.FS, s saved) (Image, error) {
	if len(s.Layers) != len(i.Layers) {
		return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: its manifest has %d layers, its configuration %d", len(s.Layers), len(i.Layers))
	}
	if len(s.RepoTags) > 0 {
		i.Ref = s.RepoTags[0]
	}
	for n, name := range s.Layers {
		i.Layers[n].Open = func(context.Context) (io.ReadCloser, error) {
			return openNamed(files, path.Clean(name), fmt.Sprintf("%q", name))
		}
	}
	return i, nil
}
