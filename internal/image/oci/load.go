package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
)

// Load loads the image for arch from files: an OCI layout, the output of `docker save`,
// or skopeo's "dir:". If there are several, which selects one by a name that it has
// there or by its digest. ok is false if there is none.
func Load(files fs.FS, arch, which string) (i Image, ok bool, err error) {
	d, err := look(files)
	if err != nil {
		return Image{}, true, err
	}
	l := loader{files: files, arch: arch, which: which, blob: layoutBlob}
	switch {
	case d.index != nil:
		i, many, err := l.layout(d.index)
		if err == nil || many || d.saved == nil {
			return i, true, err
		}
		// Docker 25.0.0 saved images whose index.json names no complete image.
		if whole, _, e := l.saved(d.saved); e == nil {
			return whole, true, nil
		}
		return i, true, err
	case d.saved != nil:
		i, _, err = l.saved(d.saved)
		return i, true, err
	case d.dir != nil:
		l.blob = dirBlob
		i, err = l.manifest(d.dir, v1.Descriptor{}, 0)
		return i, true, err
	}
	err = d.refuseIncomplete()
	return Image{}, err != nil, err
}

// loader reads an image's files.
type loader struct {
	files fs.FS
	arch  string
	which string
	blob  func(d v1.Descriptor) []string // the file names that a blob may have
}

func layoutBlob(d v1.Descriptor) []string { return []string{blobName(d)} }

// dirBlob returns the file names that skopeo uses
// (https://github.com/containers/image/blob/main/directory/directory_transport.go).
func dirBlob(d v1.Descriptor) []string {
	return []string{d.Digest.Hex, d.Digest.Hex + ".manifest.json"}
}

func blobName(d v1.Descriptor) string { return path.Join("blobs", d.Digest.Algorithm, d.Digest.Hex) }

// candidate is a possible result of Load.
type candidate struct {
	names  []string
	digest string // two candidates with the same digest are the same
	load   func() (Image, error)
}

// called reports whether which names a candidate, by its name, or by its digest or a
// prefix of it.
func (c candidate) called(which string) bool {
	hex := strings.TrimPrefix(which, "sha256:")
	if len(hex) >= 12 && strings.HasPrefix(c.digest, "sha256:"+hex) {
		return true
	}
	return slices.ContainsFunc(c.names, func(name string) bool { return familiar(name) == familiar(which) })
}

// familiar is a name in its short form, with its tag.
func familiar(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	if !strings.ContainsAny(path.Base(name), ":@") {
		name += ":latest"
	}
	return name
}

func (c candidate) String() string {
	if len(c.names) > 0 {
		return printable(c.names[0])
	}
	return c.digest[:min(len(c.digest), len("sha256:")+12)]
}

// pick loads the only candidate that is an image for this machine. If there are
// several, it refuses.
func (l loader) pick(all []candidate) (i Image, many bool, err error) {
	var meant []candidate
	for _, c := range all {
		if l.which == "" || c.called(l.which) {
			meant = append(meant, c)
		}
	}
	if len(meant) == 0 && len(all) > 0 {
		return Image{}, true, api.Errorf(api.KindNotFound, "it contains no image %.100q: %s", l.which, list(all)).
			WithHint("give one of these names with --image")
	}
	var passed error // why the first skipped one was skipped
	var found []candidate
	for _, c := range meant {
		if slices.ContainsFunc(found, func(f candidate) bool { return f.digest == c.digest }) {
			continue
		}
		loaded, loadErr := c.load()
		if api.KindOf(loadErr) == api.KindUnsupported { // not an image, or for another platform
			if passed == nil {
				passed = loadErr
			}
			continue
		}
		if found = append(found, c); len(found) == 1 {
			i, err = loaded, loadErr
		}
	}
	switch len(found) {
	case 0:
		return Image{}, false, passed
	case 1:
		return i, false, err
	}
	return Image{}, true, api.Errorf(api.KindInvalid, "it contains %d images, but only one can be imported: %s", len(found), list(found)).
		WithHint("banger image import --image %s FILE [NAME]", found[0])
}

// list lists the names of candidates.
func list(all []candidate) string {
	var names []string
	for _, c := range all {
		if len(names) == 20 {
			return strings.Join(names, ", ") + " …"
		}
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}

// layout loads an image of an OCI layout.
func (l loader) layout(index []byte) (i Image, many bool, err error) {
	found, err := fitting(index, l.arch)
	if err != nil {
		return Image{}, false, err
	}
	var all []candidate
	for _, d := range found {
		c := candidate{digest: d.Digest.String()}
		for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
			if name := d.Annotations[key]; name != "" {
				c.names = append(c.names, name)
			}
		}
		c.load = func() (Image, error) {
			i, err := l.descriptor(d, 0)
			if len(c.names) > 0 {
				i.Ref = c.names[0]
			}
			return i, err
		}
		all = append(all, c)
	}
	return l.pick(all)
}

// maxNesting is how deep indexes may be nested: the layout's own, the image's of all
// platforms, and one more.
const maxNesting = 3

// descriptor loads the image or index of a descriptor.
func (l loader) descriptor(d v1.Descriptor, depth int) (Image, error) {
	if depth == maxNesting {
		return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: its indexes are nested too deep")
	}
	raw, err := l.read(d)
	if err != nil {
		return Image{}, err
	}
	return l.manifest(raw, d, depth)
}

// manifest loads the image of a manifest; of an index it loads the first manifest for
// this machine, as specified
// (https://github.com/opencontainers/image-spec/blob/main/image-index.md).
func (l loader) manifest(raw []byte, d v1.Descriptor, depth int) (Image, error) {
	if !KindOf(string(d.MediaType), raw).IsIndex() {
		return l.image(raw)
	}
	found, err := Choose(raw, l.arch)
	if err != nil {
		return Image{}, err
	}
	var first error
	for _, d := range found {
		i, err := l.descriptor(d, depth+1)
		if err == nil || api.KindOf(err) != api.KindUnsupported {
			return i, err
		}
		if first == nil {
			first = err
		}
	}
	return Image{}, first
}

func (l loader) image(manifest []byte) (Image, error) {
	m, err := ParseManifest(manifest)
	if err != nil {
		return Image{}, err
	}
	config, err := l.read(m.Config)
	if err != nil {
		return Image{}, err
	}
	i, err := Assemble(manifest, config, func(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		return open(l.files, l.blob(d), d.Digest.String())
	})
	if err != nil {
		return i, err
	}
	return i, l.check(i)
}

// check refuses an image of another platform, and an incomplete one.
func (l loader) check(i Image) error {
	if err := i.Fits(l.arch); err != nil {
		return err
	}
	for _, layer := range i.Layers {
		f, err := layer.Open(context.Background())
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// read reads a document by its digest.
func (l loader) read(d v1.Descriptor) ([]byte, error) {
	if !IsDigest(d.Digest.String()) {
		return nil, api.Errorf(api.KindInvalid, "cannot use the image: %.80q is not a SHA-256 digest", d.Digest)
	}
	var data []byte
	var err error
	for _, name := range l.blob(d) {
		if data, err = read(l.files, name); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(d.Digest.String())
	}
	if err != nil {
		return nil, err
	}
	if got := Digest(data); got != d.Digest.String() || int64(len(data)) != d.Size {
		return nil, api.Errorf(api.KindInvalid, "%s of %d bytes has different content: %s of %d bytes", d.Digest, d.Size, got, len(data))
	}
	return data, nil
}

// saved loads an image of `docker save`.
func (l loader) saved(images []saved) (i Image, many bool, err error) {
	var all []candidate
	for _, s := range images {
		hex := strings.TrimSuffix(strings.TrimPrefix(path.Base(s.Config), "sha256:"), ".json")
		all = append(all, candidate{names: s.RepoTags, digest: "sha256:" + hex, load: func() (Image, error) { return l.savedOne(s, hex) }})
	}
	return l.pick(all)
}

func (l loader) savedOne(s saved, hex string) (Image, error) {
	config, err := read(l.files, path.Clean(s.Config))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return Image{}, missing(fmt.Sprintf("%q", s.Config))
	}
	if err != nil {
		return Image{}, err
	}
	// Every version of Docker names the configuration by its digest.
	if IsDigest("sha256:"+hex) && Digest(config) != "sha256:"+hex {
		return Image{}, api.Errorf(api.KindInvalid, "%.80q has different content: its digest is %s", s.Config, Digest(config))
	}
	i, err := ParseConfig(config)
	if err != nil {
		return Image{}, err
	}
	// Only their diff ids describe the layers.
	if len(s.Layers) != len(i.Layers) {
		return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: its manifest has %d layers, its configuration %d", len(s.Layers), len(i.Layers))
	}
	if len(s.RepoTags) > 0 {
		i.Ref = s.RepoTags[0]
	}
	for n, name := range s.Layers {
		i.Layers[n].Open = func(context.Context) (io.ReadCloser, error) {
			return open(l.files, []string{name}, fmt.Sprintf("%q", name))
		}
	}
	return i, l.check(i)
}
