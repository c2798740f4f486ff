// Package faultpoint lets a test kill a program at an exact point: between two
// steps of an operation, before or after a verb of the root helper. What survives
// that survives kill -9 at any moment.
//
// Without the environment variable, which nothing but the lab sets, a point costs
// a comparison of a string.
package faultpoint

import (
	"os"
	"strings"
	"syscall"
)

// Env names the variable that holds the path of a file. The file holds the name
// of the point to die at; it is removed first, so that the program dies there once.
const Env = "BANGER_FAULTPOINT_FILE"

var file = os.Getenv(Env)

// Reach is called at a point. The parts of its name are joined with spaces.
func Reach(parts ...string) {
	if file == "" {
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(want)) != strings.Join(parts, " ") {
		return
	}
	if os.Remove(file) == nil {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
