// Package oci represents images of the Open Container Initiative, whatever they come
// from: a registry, an archive, a directory.
package oci

import (
	"context"
	"io"

	"banger/api"
)

// Image is an image for one platform.
type Image struct {
	Ref            string // as requested, or as the archive names it; may be empty
	ManifestDigest string // "sha256:…"; empty without a manifest (docker save)
	Config         api.ImageConfig
	RawConfig      []byte   // the configuration as it was served, for its digest
	Volumes        []string // directories that must exist, as the image writes them
	History        []api.ImageHistory
	Layers         []Layer // lowest first
	OS, Arch       string  // as in GOOS and GOARCH
}

// Layer is a part of an image's file system: a tar archive, compressed or not.
type Layer struct {
	Digest    string // of the blob: "sha256:…"; empty if unknown (docker save)
	DiffID    string // of the uncompressed archive: "sha256:…"
	Size      int64  // of the blob, in bytes; -1 if unknown
	MediaType string
	// Open opens the blob. The reader verifies digest and size.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// WhiteoutPrefix begins the names of files by which a layer deletes files of the layers
// below it (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
const WhiteoutPrefix = ".wh."
