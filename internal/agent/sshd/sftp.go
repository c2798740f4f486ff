package sshd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pkg/sftp"
)

// SFTPName is the first argument of a process that serves file transfers. It is a
// program of its own so that it has its user's rights.
const SFTPName = "banger-sftp"

// SFTPMain returns at once, unless this process was started to serve file transfers
// on its standard streams: then it does until its client leaves, and exits.
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

// serveSFTP serves the files that this process may use. Relative paths begin where
// it was started, which is this process's working directory: the server's own would also
// be put before the targets of relative symbolic links.
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
