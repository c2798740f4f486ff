package vmproc

import (
	"os"

	"banger/api"
	"banger/internal/host/fsx"
)

// Files are descriptors to hand to a VMM.
type Files []*os.File

// Close closes our copies.
func (files Files) Close() {
	for _, f := range files {
		f.Close()
	}
}

// Listen binds a listening socket at path and returns it as a file. The VMM
// inherits it, so it can be dialled from the moment the VMM was started, and
// nobody has to wait for the socket to appear.
func Listen(path string) (*os.File, error) {
	l, err := fsx.ListenUnix(path)
	if err != nil {
		return nil, HostError("cannot make a socket for the VM", err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return nil, HostError("cannot make a socket for the VM", err)
	}
	return f, nil
}

// HostError gives a failure of the host's files the kind it deserves.
func HostError(action string, err error) error {
	if fsx.IsNoSpace(err) {
		return api.Errorf(api.KindNoSpace, "%s: %w", action, err).WithHint("make room: banger image prune, or banger vm delete NAME for a VM that nobody needs")
	}
	return api.Errorf(api.KindInternal, "%s: %w", action, err)
}
