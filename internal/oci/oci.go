// Package oci holds what images of the Open Container Initiative are made of,
// wherever they come from: a registry, an archive, a directory.
package oci

import (
	"context"
	"io"

	"banger/api"
)

// Image is an image for one platform.
type Image struct {
	Ref            string // as asked for, or as the archive names it; may be empty
	ManifestDigest string // "sha256:…"; empty where there is no manifest (docker save)
	Config         api.ImageConfig
	RawConfig      []byte   // the configuration as it was served, for its digest
	Volumes        []string // directories that are to be there, as the image writes them
	History        []api.ImageHistory
	Layers         []Layer // the lowest first
	OS, Arch       string  // as GOOS and GOARCH have them
}

// Layer is a part of an image's file system: a tar archive, compressed or not.
type Layer struct {
	Digest    string // of the blob: "sha256:…"; empty where nothing says it (docker save)
	DiffID    string // of the uncompressed archive: "sha256:…"
	Size      int64  // of the blob, in bytes; -1 where nothing says it
	MediaType string
	// Open returns the blob. What reads it verifies digest and size.
	Open func(ctx context.Context) (io.ReadCloser, error)
}
