package sshd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pkg/sftp"
)

// SFTPName is the first argument of a process that serves file transfers. It is a separate process so
// that it has its user's rights.
const SFTPName = "banger-sftp"

// SFTPMain returns immediately, unless this process was started to serve file transfers on its
// standard streams: then it does so until its client disconnects, and exits.
func SFTPMain() {
	if len(os.Args) == 0 || os.Args[0] != SFTPName {
		return
	}
	if err := serveSFTP(); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "banger:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveSFTP serves the files that this process may use. Relative paths begin at this process's working
// directory: the server's option for it would also be prepended to the targets of relative symbolic
// links.
func serveSFTP() error {
	server, err := sftp.NewServer(standardStreams{os.Stdin, os.Stdout}, sftp.WithAllocator())
	if err != nil {
		return err
	}
	return server.Serve()
}

// standardStreams are the standard streams as one.
type standardStreams struct {
	io.Reader
	io.WriteCloser
}
