package process

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/host/fsx"
)

// defaultPath is root's PATH in Debian's login.defs.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// program is a command that is ready to be started.
type program struct {
	path string
	argv []string
	env  []string
	dir  string
	// credential is whom it runs as; nil: as the agent.
	credential *syscall.Credential
}

// statusError is a failure that shells report by an exit status and a message on standard error
// (POSIX, shell command language 2.8.2).
type statusError struct {
	code int
	text string
}

func (e statusError) Error() string { return e.text }

// resolve returns the program of a command in this guest.
func (c *Command) resolve() (*program, error) {
	g, exec := c.runner.guest, c.exec
	account, err := g.account(exec.User)
	if err != nil {
		return nil, err
	}
	p := &program{argv: exec.Argv, credential: account.Credential}
	p.env = g.environment(account, exec)
	if exec.StopSignal < 0 || exec.StopSignal > maxSignal {
		return nil, api.Errorf(api.KindInvalid, "unknown signal %d", exec.StopSignal)
	}
	if p.dir, err = g.directory(account, exec); err != nil {
		return nil, err
	}
	return p, c.find(p, account.Shell)
}

// find sets the program's file, and its arguments unless the command has them.
func (c *Command) find(p *program, shell string) (err error) {
	switch {
	case c.Itself != "":
		// The initramfs is gone, but the kernel still has this process's program.
		p.path, p.argv = "/proc/self/exe", []string{c.Itself}
	case c.ShellLine != "":
		if err = loginShell(p, shell, "/bin/sh"); err == nil {
			p.argv = []string{filepath.Base(p.path), "-c", c.ShellLine}
		}
	case len(p.argv) == 0:
		err = loginShell(p, shell, "/bin/sh")
	default:
		p.path, err = lookup(p.argv[0], p.dir, lastValue(p.env, "PATH"))
	}
	return err
}

func (g guest) environment(a Account, exec api.Exec) []string {
	env := []string{"HOME=" + a.Home, "SHELL=" + cmp.Or(a.Shell, "/bin/sh"), "PATH=" + defaultPath}
	if a.Name != "" {
		env = append(env, "USER="+a.Name, "LOGNAME="+a.Name)
	}
	if lang := language(g.root); lang != "" {
		env = append(env, "LANG="+lang)
	}
	if !exec.TTY {
		return merge(env, exec.Env)
	}
	env = merge(append(env, "TERM=xterm-256color"), exec.Env)
	return merge(env, []string{"TERM=" + terminal(lastValue(env, "TERM"), a.Home, env, g.root)})
}

// merge sets the variables of more in env, each only once: programs differ in whether they use the
// first or the last of two with the same name.
func merge(env, more []string) []string {
	at := map[string]int{}
	for i, v := range env {
		name, _, _ := strings.Cut(v, "=")
		at[name] = i
	}
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		if i, ok := at[name]; ok {
			env[i] = v
			continue
		}
		at[name] = len(env)
		env = append(env, v)
	}
	return env
}

func lastValue(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// maxSignal is the last of the real-time signals (signal(7)).
const maxSignal = 64

// directory returns where the command starts.
func (g guest) directory(a Account, exec api.Exec) (string, error) {
	dir := exec.Dir
	if dir == "" {
		if info, err := os.Stat(a.Home); err != nil || !info.IsDir() {
			return "/", nil
		}
		return a.Home, nil
	}
	path := filepath.Join(cmp.Or(g.root, "/"), dir)
	if exec.MakeDir {
		// The error of Stat below is clearer than that of creating it.
		_ = os.MkdirAll(path, 0o755)
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return "", api.Errorf(api.KindInvalid, "cannot start in %s: %w", dir, fsx.Cause(err))
	}
	return path, nil
}

// loginShell makes p the first shell that can be executed.
func loginShell(p *program, shells ...string) error {
	for _, shell := range shells {
		if shell != "" && executable(shell) == nil {
			p.path, p.argv = shell, []string{"-" + filepath.Base(shell)}
			return nil
		}
	}
	return api.Errorf(api.KindInvalid, "the image has no shell").
		WithHint(agentproto.HintProgram)
}

// lookup finds a command as execvp(3) does.
func lookup(name, dir, path string) (string, error) {
	if strings.Contains(name, "/") {
		file := name
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return file, status(name, executable(file))
	}
	err := error(fs.ErrNotExist)
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		file := filepath.Join(folder, name)
		found := executable(file)
		if found == nil && name != "" {
			return file, nil
		}
		if !errors.Is(found, fs.ErrNotExist) && !errors.Is(found, syscall.ENOTDIR) {
			err = found
		}
	}
	return "", status(name, err)
}

func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return fsx.Cause(err)
	case info.IsDir():
		return syscall.EISDIR
	case info.Mode()&0o111 == 0:
		return syscall.EACCES
	}
	return nil
}

// status turns an error of finding or starting a command into an exit status.
func status(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return statusError{127, name + ": command not found"}
	default:
		return statusError{126, fmt.Sprintf("%s: cannot execute: %v", name, err)}
	}
}

// startError explains why a program that was found could not be started.
func startError(p *program, err error) error {
	var refusal *api.Error
	if errors.As(err, &refusal) {
		return api.Errorf(refusal.Kind, "cannot start %s in the guest: %w", p.argv[0], err)
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return api.Errorf(api.KindInternal, "cannot start %s in the guest: %w", p.argv[0], err)
	}
	switch errno {
	case syscall.E2BIG:
		return api.Errorf(api.KindInvalid, "the command line is too long for the guest: %w", err).
			WithHint(agentproto.HintStdin)
	case syscall.EACCES:
		return statusError{126, p.argv[0] + ": cannot execute" + p.asWhom() + ": " + errno.Error()}
	case syscall.ENOEXEC, syscall.ENOENT, syscall.EPERM, syscall.ETXTBSY, syscall.ELIBBAD:
		return statusError{126, fmt.Sprintf("%s: cannot execute: %v", p.argv[0], errno)}
	}
	return api.Errorf(api.KindInternal, "cannot start %s in the guest: %w", p.argv[0], err)
}

// asWhom returns the user and the directory, for which permissions may be missing, too.
func (p *program) asWhom() string {
	if p.credential == nil || p.credential.Uid == 0 {
		return ""
	}
	return fmt.Sprintf(" as user %d in %s", p.credential.Uid, p.dir)
}
