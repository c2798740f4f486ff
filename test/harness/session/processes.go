package session

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is one that has something to do with a home.
type Process struct {
	PID    int
	Parent int
	Args   []string
	Dir    string // where it works
}

func (p Process) String() string { return fmt.Sprintf("process %d: %q", p.PID, p.Args) }

// Processes finds all processes that name a home in their command line or their
// environment, or work in it.
func Processes(home string) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !Alive(pid) {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		// What cannot be read has ended, or belongs to somebody else.
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if len(args) > 0 && (names(args, home) || names(environ, home) || names([]byte(cwd), home)) {
			found = append(found, Process{pid, parentOf(pid), strings.Split(strings.TrimRight(string(args), "\x00"), "\x00"), cwd})
		}
	}
	return found, nil
}

// parentOf is the fourth field of proc_pid_stat(5), 0 if the process has ended.
func parentOf(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// names reports whether text has home, and not another one that begins alike.
func names(text []byte, home string) bool {
	for {
		_, after, found := bytes.Cut(text, []byte(home))
		if !found {
			return false
		}
		if len(after) == 0 || bytes.IndexByte([]byte("/\x00,:\" "), after[0]) >= 0 {
			return true
		}
		text = after
	}
}
