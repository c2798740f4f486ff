// Package execx is the one way in which banger runs other programs. Nothing here is on the
// path of starting a VM.
package execx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"banger/api"
)

// Cmd is a program to run to its end.
type Cmd struct {
	Name string   // looked up on PATH, and in /usr/sbin and /sbin
	Args []string // without the name
	Env  []string // added to the environment, which has LC_ALL=C.UTF-8
	// Bare makes Env and LC_ALL the whole environment. The user that the program runs as can
	// read an inherited one (proc_pid_environ(5)), and root's may hold secrets.
	Bare  bool
	Dir   string
	Stdin io.Reader
	// Stdout receives standard output; nil discards it.
	Stdout io.Writer
	// Stderr is called with every line of standard error as it is written; if it is nil, only
	// the last lines are recorded for the error.
	Stderr func(line string)
	// ExtraFiles are the program's descriptors from 3 on. It inherits no other file.
	ExtraFiles []*os.File
	// Package is the package to install if the program is missing.
	Package string
	// Asks leaves the program in the process group of this one, because it may ask its user for
	// something: a terminal stops a program of another group that reads from it (termios(3)). When
	// ctx ends, it and what it has started receive SIGTERM; when this program ends, it alone.
	Asks bool
	// Attr is used unchanged, except for the process group, which is always new but for Asks: with
	// Setsid the session's.
	Attr *syscall.SysProcAttr
	// Started is called with the pid once the program runs.
	Started func(pid int) error
}

// tailLines is how many lines of standard error an error quotes.
const tailLines = 5

// Run runs c and waits for its end. When ctx ends first, the program's whole
// process group is killed. A failure names the program and quotes the last
// lines it wrote to standard error.
func Run(ctx context.Context, c Cmd) error {
	path, err := LookPath(c.Name, c.Package)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, c.Args...)
	cmd.Env = append([]string{"LC_ALL=C.UTF-8"}, c.Env...)
	if !c.Bare {
		cmd.Env = append(os.Environ(), cmd.Env...)
	}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = c.Dir, c.Stdin, c.Stdout, c.ExtraFiles
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if c.Attr != nil {
		*cmd.SysProcAttr = *c.Attr
	}
	cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid && !c.Asks // a session leader cannot (setpgid(2))
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if c.Asks {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
		cmd.Cancel = func() error { return terminate(cmd.Process.Pid) }
	}
	cmd.WaitDelay = 5 * time.Second
	lines := &lineWriter{each: c.Stderr}
	cmd.Stderr = lines
	ended := make(chan struct{})
	defer close(ended)
	if err := start(cmd, ended); err != nil {
		return api.Errorf(api.KindInternal, "cannot run %s: %w", c.Name, err)
	}
	if c.Started != nil {
		if err := c.Started(cmd.Process.Pid); err != nil {
			_ = cmd.Cancel()
			_ = cmd.Wait()
			return err
		}
	}
	err = cmd.Wait()
	lines.flush()
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "%s was stopped: %w", c.Name, context.Cause(ctx))
	}
	if err != nil {
		return failure(c.Name, err, lines.tail)
	}
	return nil
}

func failure(name string, err error, tail []string) error {
	kind := api.KindInternal
	text := strings.Join(tail, "\n  ")
	if full(text) {
		kind = api.KindNoSpace
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && text != "" {
		return api.Errorf(kind, "%s failed (%w):\n  %s", name, err, text)
	}
	return api.Errorf(kind, "%s failed: %w", name, err)
}

// full reports whether a program said that a disk or a quota is full. C programs begin the
// sentence with a capital letter (strerror(3)), Go's do not. Git has words of its own for a write of
// no bytes (write_in_full in its wrapper.c, finish in csum-file.c).
func full(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, syscall.ENOSPC.Error()) || strings.Contains(text, syscall.EDQUOT.Error()) ||
		strings.Contains(text, "out of diskspace")
}

// LookPath finds a program on PATH or in the system directories that are not
// on an ordinary user's PATH. pkg is the package to suggest if it is missing.
func LookPath(name, pkg string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	err := api.Errorf(api.KindUnsupported, "%s is not installed", name)
	if pkg != "" {
		err = err.WithHint("sudo apt-get install %s", pkg)
	}
	return "", err
}

// lineWriter splits what is written into lines and keeps the last ones.
type lineWriter struct {
	each    func(string)
	partial []byte
	tail    []string
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, whole := cutLine(w.partial)
		if !whole {
			break
		}
		w.line(string(line))
		w.partial = rest
	}
	if len(w.partial) > 64<<10 {
		w.flush()
	}
	return len(p), nil
}

// cutLine returns the first line, which ends with a newline, with a carriage return as a program's progress does,
// or with both, and the rest. Whether a carriage return at the end is followed by a newline is not known yet.
func cutLine(text []byte) (line, rest []byte, whole bool) {
	end := bytes.IndexAny(text, "\r\n")
	if end < 0 || text[end] == '\r' && end+1 == len(text) {
		return text, nil, false
	}
	rest = text[end+1:]
	if text[end] == '\r' && rest[0] == '\n' {
		rest = rest[1:]
	}
	return text[:end], rest, true
}

func (w *lineWriter) flush() {
	if len(w.partial) > 0 {
		w.line(strings.TrimSuffix(string(w.partial), "\r"))
		w.partial = nil
	}
}

func (w *lineWriter) line(s string) {
	if w.each != nil {
		w.each(s)
	}
	if strings.TrimSpace(s) == "" {
		return
	}
	w.tail = append(w.tail, s)
	if len(w.tail) > tailLines {
		w.tail = w.tail[1:]
	}
}
