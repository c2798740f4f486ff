// Command sleeper stands for a VMM in tests: it runs in an empty chroot under
// any name, and ends with the test that holds its standard input.
package main

import (
	"io"
	"os"
)

func main() { _, _ = io.Copy(io.Discard, os.Stdin) }
