package api

import "time"

// Image is a root file system in the cache, named by its content.
type Image struct {
	Digest    string    `json:"digest"`         // "sha256:" and 64 hexadecimal digits, of the ext4 file and the configuration
	Names     []string  `json:"names"`          // none if nothing refers to it any more
	Source    string    `json:"source"`         // where it came from, for people
	Arch      string    `json:"arch"`           // as GOARCH has it
	SizeBytes int64     `json:"size_bytes"`     // the bytes it occupies on the host's disk
	DiskBytes int64     `json:"min_disk_bytes"` // the size of the smallest disk that it fits on
	CreatedAt time.Time `json:"created_at"`
	UsedBy    []string  `json:"used_by,omitempty"` // names of VMs

	// Config is nil if the image came without one.
	Config *ImageConfig `json:"config,omitempty"`
	// Reference is its reference in a registry, as requested.
	Reference string `json:"reference,omitempty"`
	// Manifest is the digest of its manifest there.
	Manifest string       `json:"manifest,omitempty"`
	Layers   []ImageLayer `json:"layers,omitempty"` // the lowest first

	// Kernel is the digest of the kernel for VMs of this image that name none; empty for the
	// default.
	Kernel string `json:"kernel,omitempty"`
	// Registered is nil for an image whose files banger has.
	Registered *RegisteredFiles `json:"registered,omitempty"`
}

// RegisteredFiles are the files of a registered image, which stay where they are.
type RegisteredFiles struct {
	Rootfs       string `json:"rootfs"`            // an ext4 file
	RootfsSHA256 string `json:"rootfs_sha256"`     // in hexadecimal
	Kernel       string `json:"kernel,omitempty"`  // empty for the default kernel
	Modules      string `json:"modules,omitempty"` // the directory of the kernel's modules
}

// ImageConfig is an image's configuration for running it
// (https://github.com/opencontainers/image-spec/blob/main/config.md).
type ImageConfig struct {
	Env          []string          `json:"env,omitempty"` // NAME=VALUE
	User         string            `json:"user,omitempty"`
	WorkingDir   string            `json:"working_dir,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	ExposedPorts []string          `json:"exposed_ports,omitempty"` // such as 80/tcp
	Labels       map[string]string `json:"labels,omitempty"`
	// Init is process 1 of the guest: empty for the agent, or "systemd".
	Init string `json:"init,omitempty"`
}

// ImageLayer is a layer that an image was made from.
type ImageLayer struct {
	Digest    string `json:"digest,omitempty"` // of the blob as it is stored and sent
	DiffID    string `json:"diff_id"`          // of the archive in it
	SizeBytes int64  `json:"size_bytes"`       // of the archive in it
}

// ImageHistory is one step of an image's build.
type ImageHistory struct {
	CreatedAt *time.Time `json:"created_at,omitempty"`
	CreatedBy string     `json:"created_by,omitempty"`
	Comment   string     `json:"comment,omitempty"`
	Layer     string     `json:"layer,omitempty"` // diff id of the layer that it made, if any
	SizeBytes int64      `json:"size_bytes"`      // of that layer's archive
}

// ImageList answers GET /v1/images.
type ImageList struct {
	Images []Image `json:"images"`
}

// PullImage requests an image by name. The host's own distribution is built from its
// packages, unless a current one is in the cache; any other name is a reference to a
// registry, which is asked for its current meaning.
type PullImage struct {
	Name string `json:"name"`
	// Refresh builds the distribution again even if the cache has it.
	Refresh bool `json:"refresh,omitempty"`
}

// ImportImage requests an image made from a file on the daemon's host.
type ImportImage struct {
	// Path is absolute. It is a root file system as a tar archive, plain or
	// compressed, as a directory or as an ext4 file; or an image as an OCI layout,
	// directory or archive, or as `docker save` writes it.
	Path string `json:"path"`
	Name string `json:"name"`
	// Image chooses one of several images in an archive: by its name there, or by its
	// digest.
	Image string `json:"image,omitempty"`
}

// RegisterImage requests an image of files on the daemon's host that stay where they are. Each
// start of a VM checks them again. The paths are absolute.
type RegisterImage struct {
	Name    string `json:"name"`
	Rootfs  string `json:"rootfs"`            // an ext4 file
	Kernel  string `json:"kernel,omitempty"`  // vmlinux or vmlinuz
	Modules string `json:"modules,omitempty"` // a /lib/modules/RELEASE directory
	// Initrd is refused: banger makes the initramfs.
	Initrd string `json:"initrd,omitempty"`
}

// PromoteImage requests a copy of a registered image that banger keeps itself.
type PromoteImage struct {
	Image string `json:"image"`
	Name  string `json:"name,omitempty"` // of the copy; empty: the name in Image, which moves
}

// The formats that an image can be exported in.
const (
	ExportOCI    = "oci"    // an OCI layout of one layer, in a tar archive
	ExportDocker = "docker" // what `docker load` reads, of one layer
	ExportTar    = "tar"    // the root file system alone
	ExportExt4   = "ext4"   // its ext4 file as it is
)

// LeftOutHeader carries, in the answer to GET /v1/images/{image}/export, the number of
// sockets that were left out of an archive.
const LeftOutHeader = "Banger-Left-Out"

// TagImage gives an image another name, which another image may have had.
type TagImage struct {
	Image string `json:"image"`
	Name  string `json:"name"`
}

// ImageHistoryList answers GET /v1/images/{image}/history, the newest step first.
type ImageHistoryList struct {
	History []ImageHistory `json:"history"`
}

// Kernel is a guest kernel in the cache, named by its content.
type Kernel struct {
	Digest    string    `json:"digest"`
	Names     []string  `json:"names"`
	Release   string    `json:"release"` // such as 6.1.0-37-cloud-amd64
	Source    string    `json:"source"`
	Arch      string    `json:"arch"`
	SizeBytes int64     `json:"size_bytes"`
	CreatedAt time.Time `json:"created_at"`
	UsedBy    []string  `json:"used_by,omitempty"`
}

// KernelList answers GET /v1/kernels.
type KernelList struct {
	Kernels []Kernel `json:"kernels"`
}

// PullKernel requests the distribution's kernel for virtual machines.
type PullKernel struct {
	Refresh bool `json:"refresh,omitempty"`
	// Release is that of another kernel than the newest. It does not become the default.
	Release string `json:"release,omitempty"`
}

// AvailableKernels answers GET /v1/available-kernels, the newest first.
type AvailableKernels struct {
	Kernels        []AvailableKernel `json:"kernels"`
	ListsFetchedAt time.Time         `json:"lists_fetched_at"` // the package lists that name them
}

// AvailableKernel is a kernel for virtual machines that a package source of the host has.
type AvailableKernel struct {
	Release   string `json:"release"`
	Package   string `json:"package"`
	Version   string `json:"version"`            // of the package
	SizeBytes int64  `json:"size_bytes"`         // of the package's file
	Default   bool   `json:"default"`            // a pull without a release gets it
	Digest    string `json:"digest,omitempty"`   // of the kernel in the cache that came from the package
	Outdated  bool   `json:"outdated,omitempty"` // that one came from another version of the package
}

// ImportKernel requests a kernel made from files on the daemon's host.
type ImportKernel struct {
	Path    string `json:"path,omitempty"`    // absolute; vmlinux or vmlinuz
	Modules string `json:"modules,omitempty"` // absolute; a /lib/modules/RELEASE directory
	Name    string `json:"name,omitempty"`
	// Host imports the running host's own kernel and modules instead.
	Host bool `json:"host,omitempty"`
}
