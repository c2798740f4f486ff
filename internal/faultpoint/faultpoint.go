// Package faultpoint lets a test kill a program at an exact point: between two steps of an
// operation, or before or after a verb of the root helper. A program that survives this
// survives kill -9 at any moment.
//
// Without the environment variable, which only tests set, a point costs one comparison of a
// string.
package faultpoint

import (
	"os"
	"strings"
	"sync"
	"syscall"
)

// Env is the variable that holds the path of a file. The file holds the name of the point at
// which the program kills itself; it is removed first, so that this happens once. If a second
// line names a pipe (mkfifo(3)), the program waits there until a writer has opened and closed
// it, and continues: meanwhile a test can kill another program.
const Env = "BANGER_FAULTPOINT_FILE"

// Record is the first line of a file to which the names of all points that are reached
// are added, a line each: so a test learns which points there are.
const Record = "record\n"

var file = sync.OnceValue(func() string { return os.Getenv(Env) })

// Reach marks a point. The parts of its name are joined with spaces.
func Reach(parts ...string) {
	if file() == "" {
		return
	}
	name := strings.Join(parts, " ")
	want, err := os.ReadFile(file())
	if strings.HasPrefix(string(want), Record) {
		record(name)
		return
	}
	point, pipe, _ := strings.Cut(strings.TrimSpace(string(want)), "\n")
	if err != nil || point != name || os.Remove(file()) != nil {
		return
	}
	if pipe != "" {
		_, _ = os.ReadFile(pipe)
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func record(name string) {
	f, err := os.OpenFile(file(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return // the test has seen enough
	}
	defer f.Close()
	_, _ = f.WriteString(name + "\n")
}
