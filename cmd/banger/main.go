// Command banger runs development sandboxes on microVMs.
package main

import (
	"os"
	"path/filepath"

	"banger/internal/cli"
)

func main() {
	main := cli.Main
	if filepath.Base(os.Args[0]) == cli.GitRemoteProgram {
		main = cli.GitRemote
	}
	os.Exit(main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
