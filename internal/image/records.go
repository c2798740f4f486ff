package image

import (
	"encoding/json"
	"os"
	"time"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fsx"
)

// The files in an image's directory, besides its record and disk-BYTES.ext4.
const (
	rootfsFile = "rootfs.ext4"
	diskPrefix = "disk-"
	diskSuffix = ".ext4"
)

// meta is the record in an image's directory.
type meta struct {
	Source    string    `json:"source"`
	Arch      string    `json:"arch"`
	DiskBytes int64     `json:"min_disk_bytes"`
	Recipe    string    `json:"recipe,omitempty"` // digest of its sources, see distro.Release.Recipe
	CreatedAt time.Time `json:"created_at"`

	// Registered says that the files stay where the user has them: registered.json has what they were.
	Registered bool `json:"registered,omitempty"`
	// Kernel is the digest of the kernel for VMs that name none; empty for the default.
	Kernel string `json:"kernel,omitempty"`
	hex    string // of the file, if its digest is known already

	// The metadata of an image of layers. ID is the digest of its configuration, which
	// names all its layers.
	ID        string             `json:"id,omitempty"`
	Config    *api.ImageConfig   `json:"config,omitempty"`
	RawConfig json.RawMessage    `json:"raw_config,omitempty"` // the source of Config
	Reference string             `json:"reference,omitempty"`
	Manifest  string             `json:"manifest,omitempty"`
	Layers    []api.ImageLayer   `json:"layers,omitempty"`
	History   []api.ImageHistory `json:"history,omitempty"`
}

// record is what the store remembers of an image.
type record struct {
	image api.Image // without its names; nobody changes what it points to
	id    string    // meta.ID
}

func (r record) registered() bool { return r.image.Registered != nil }

type (
	entry  = digeststore.Entry[record]
	locked = digeststore.Locked[record]
)

// records are the images in the cache, found by what users type.
type records struct {
	*digeststore.Store[record]
	names *nameRules
}

func openRecords(dir, staging string, names *nameRules) (*records, error) {
	s, err := digeststore.Open(dir, staging, digeststore.Kind[record]{
		Name: "image", Plural: "images", ListCommand: "banger image list",
		Read: readRecord, Created: func(r record) time.Time { return r.image.CreatedAt },
	})
	if err != nil {
		return nil, err
	}
	return &records{s, names}, nil
}

func readRecord(dir, hex string) (record, error) {
	var m meta
	if err := digeststore.ReadMeta(dir, &m); err != nil {
		return record{}, err
	}
	r := record{id: m.ID, image: api.Image{
		Digest: "sha256:" + hex, Source: m.Source, Arch: m.Arch, DiskBytes: m.DiskBytes,
		CreatedAt: m.CreatedAt, SizeBytes: fsx.Usage(dir), Kernel: m.Kernel,
		Config: m.Config, Reference: m.Reference, Manifest: m.Manifest, Layers: m.Layers,
	}}
	if m.Registered {
		reg, err := readRegistration(dir)
		if err != nil {
			return record{}, err
		}
		r.image.Registered = reg.api()
		r.image.SizeBytes += reg.UsedBytes
	}
	return r, nil
}

// withNames returns an image with its names, unless there is an error.
func withNames(e entry, err error) (api.Image, error) {
	if err != nil {
		return api.Image{}, err
	}
	i := e.Object.image
	i.Names = e.Names
	return i, nil
}

// list returns all images, oldest first.
func (r *records) list() ([]api.Image, error) {
	l := r.Lock()
	defer l.Unlock()
	entries, err := l.List()
	if err != nil {
		return nil, err
	}
	images := make([]api.Image, len(entries))
	for n, e := range entries {
		images[n], _ = withNames(e, nil)
	}
	return images, nil
}

func (r *records) meta(hex string) (m meta, err error) {
	err = r.Meta(hex, &m)
	return m, err
}

// isComplete reports whether an image's directory has its record and its file. If the
// file was removed by hand, the image is made again when it is needed. The file of a
// registered image is elsewhere.
func (r *records) isComplete(hex string) bool {
	m, err := r.meta(hex)
	if err == nil && !m.Registered {
		_, err = os.Stat(r.Path(hex, rootfsFile))
	}
	return err == nil
}

// nameIn finds the name in the cache that ref names: as it is, or as nameRules have it.
func (r *records) nameIn(l locked, ref string) (name string, there bool, err error) {
	if _, there := l.Named(ref); there {
		return ref, true, nil
	}
	if name, err = r.names.inCache(ref); err != nil {
		return "", false, err
	}
	_, there = l.Named(name)
	return name, there, nil
}

// find finds an image by name, digest or unique prefix of a digest.
func (r *records) find(l locked, ref string) (entry, error) {
	name, there, err := r.nameIn(l, ref)
	if err != nil {
		return entry{}, err
	}
	if there {
		if e, ok := l.Exact(name); ok {
			return e, nil
		}
	}
	e, ok, err := l.Get(ref)
	if err == nil && !ok {
		err = api.Errorf(api.KindNotFound, "no image named %.80q", ref).WithHint("banger image list")
	}
	return e, err
}

func (r *records) get(ref string) (api.Image, error) {
	l := r.Lock()
	defer l.Unlock()
	return withNames(r.find(l, ref))
}

// named returns the image with exactly that name, if there is one.
func (r *records) named(name string) (api.Image, meta, bool) {
	l := r.Lock()
	defer l.Unlock()
	hex, ok := l.Named(name)
	if !ok {
		return api.Image{}, meta{}, false
	}
	m, err := r.meta(hex)
	if err != nil {
		return api.Image{}, meta{}, false
	}
	i, err := withNames(l.Load(hex))
	return i, m, err == nil
}

// nameFirst names the first complete image for which is is true, if there is one.
func (r *records) nameFirst(is func(record) bool, names []string) (made api.Image, ok bool, err error) {
	l := r.Lock()
	defer l.Unlock()
	entries, err := l.List()
	if err != nil {
		return api.Image{}, true, err
	}
	for _, e := range entries {
		if is(e.Object) && r.isComplete(e.Hex) {
			made, err := withNames(l.Name(e.Hex, names...))
			return made, true, err
		}
	}
	return api.Image{}, false, nil
}
