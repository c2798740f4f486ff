// Package imagebuild builds an image of a Dockerfile in a guest (docs/adr/0035-dockerfiles.md). The
// guest runs what a stranger wrote: nothing that comes back from it is trusted, and it is sent no
// password.
package imagebuild

import (
	"context"
	"io"

	"banger/api"
)

// Guest is the inside of the VM that builds.
type Guest interface {
	// Put unpacks a tar stream beneath the directory path.
	Put(ctx context.Context, path string, tar io.Reader, warnings io.Writer) error
	// Get returns a path as a tar stream, whose names begin with the path's last element.
	Get(ctx context.Context, path string, warnings io.Writer) (io.ReadCloser, error)
	// Run runs a command as root without input, and returns its exit status. out receives what it
	// writes, in pieces; it is called by one goroutine at a time.
	Run(ctx context.Context, exec api.Exec, out io.Writer) (int, error)
}

// dir is the directory of the guest that a build has everything in. It is on the guest's disk: its
// /tmp may be in memory.
const dir = "/banger-build"
