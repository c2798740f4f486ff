package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"unicode"

	"banger/api"
	"banger/internal/host/execx"
)

// safe are settings for each command on the user's repository. Each takes away something that
// git would do beside the command: programs that the repository names, and files that it would
// write into the repository.
var safe = []string{
	"-c", "core.hooksPath=/dev/null", // hooks, such as reference-transaction at update-ref
	"-c", "core.fsmonitor=false", // a program
	"-c", "gc.auto=0", "-c", "maintenance.auto=false",
	"-c", "core.splitIndex=false", // an index elsewhere would write sharedindex.* beside the user's
	"-c", "core.logAllRefUpdates=false", // "always" would log our references
	"-c", "core.safecrlf=false", // it makes git refuse a file for its line ends
	"-c", "core.filesRefLockTimeout=1000", // milliseconds: another snapshot takes a few
	"-c", "i18n.commitEncoding=UTF-8",
}

// inherited are the variables of git's that keep their values: they say which config is the
// user's, where git is, and where it looks for a repository. All others would turn git to another repository, index or config
// than that of its directory, as in a hook or an alias.
var inherited = []string{"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_LFS_SKIP_SMUDGE"}

// maxLines is how many lines of git's standard error an error quotes, the last ones.
const maxLines = 6

// maxHeld is how many of them are held in memory until then.
const maxHeld = 1000

// command is one run of git.
type command struct {
	dir   string
	env   []string
	stdin io.Reader
	args  []string
	asks  bool // execx.Cmd.Asks
	// skip, unless nil, is called with each line of standard error, and returns true if errors do not quote it.
	skip func(line string) bool
}

// run returns what git writes to standard output.
func (c command) run(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	var lines []string
	err := execx.Run(ctx, execx.Cmd{
		Name: "git", Package: "git", Dir: c.dir, Bare: true, Stdin: c.stdin, Stdout: &out, Asks: c.asks,
		Args: slices.Concat(safe, c.args),
		Env:  slices.Concat(environment(), c.env),
		Stderr: func(line string) {
			if c.skip != nil && c.skip(line) {
				return
			}
			if line = printable(line); line != "" && !strings.HasPrefix(line, "hint:") {
				if len(lines) == maxHeld { // a guest can make a remote helper write without end
					lines = slices.Delete(lines, 0, maxHeld-maxLines)
				}
				lines = append(lines, line)
			}
		},
	})
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, api.Errorf(api.KindCanceled, "git %s was stopped: %w", c.name(), context.Cause(ctx))
	}
	return nil, c.failure(err, lines)
}

// failure says what git said. An error of the program's start stays as it is.
func (c command) failure(err error, lines []string) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	// The name of the setting is the same in each language and version.
	if at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "safe.directory") }); at >= 0 {
		return api.Errorf(api.KindDenied, "git refuses the repository at %s, because it belongs to another user (%w)", c.dir, exit).
			WithHint("if you trust it: %s", lines[at])
	}
	if slices.ContainsFunc(lines, saysFatal) { // what it warned of before did not end it
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "warning:") })
	}
	lines = lines[max(0, len(lines)-maxLines):]
	failed := api.Errorf(api.KindOf(err), "git %s failed (%w): %s", c.name(), exit, strings.Join(lines, "; "))
	if failed.Kind == api.KindNoSpace {
		return failed.WithHint("free space in the repository's file system: df -h %s", c.dir)
	}
	return failed
}

// saysFatal reports whether a line says why git ended.
func saysFatal(line string) bool { return strings.HasPrefix(line, "fatal:") }

// name is the command, without the settings before it.
func (c command) name() string {
	for i := 0; i < len(c.args); i++ {
		if c.args[i] != "-c" {
			return c.args[i]
		}
		i++
	}
	return ""
}

// environment is the caller's, without what would change which repository git works on, how it
// works, or the language of its messages.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "GIT_") {
			return !slices.Contains(inherited, name)
		}
		return name == "LC_ALL" || name == "LANGUAGE"
	})
	return append(env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
}

// printable is a line of git's without control characters: it can quote a name of any file.
func printable(line string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, line))
}

// exited reports whether git itself ended with an exit status, as opposed to not having run.
func exited(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit)
}

// Git runs a git command on the repository with safe settings and returns its standard output. env
// is added to the environment. The error quotes what git wrote to standard error. In a folder, git
// works on banger's own repository.
func (r *Repo) Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error) {
	if err := r.ensure(ctx); err != nil {
		return nil, err
	}
	return command{dir: r.top, env: slices.Concat(r.env, env), stdin: stdin, args: args}.run(ctx)
}

// reaching are the variables that say how the user's git reaches other hosts, and asks the user.
var reaching = []string{
	"GIT_ASKPASS", "GIT_TERMINAL_PROMPT", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_PROXY_COMMAND",
	"GIT_SSL_NO_VERIFY", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY",
}

// Reach runs a git command in a directory, whether that is in a repository or not, which connects to
// another host as the user, and may ask the user for a password. skip is called with each line of git's
// standard error, and returns true if errors do not quote it. It is as Repo.Git otherwise.
func Reach(ctx context.Context, dir string, env []string, skip func(line string) bool, args ...string) ([]byte, error) {
	own := []string{"GIT_TERMINAL_PROMPT=1"}
	for _, name := range reaching {
		if value, set := os.LookupEnv(name); set {
			own = append(own, name+"="+value)
		}
	}
	return command{dir: dir, env: slices.Concat(own, env), args: args, asks: true, skip: skip}.run(ctx)
}

// line returns the output of a command that prints one line. The line may contain newlines, as
// a path can.
func (r *Repo) line(ctx context.Context, args ...string) (string, error) {
	out, err := r.Git(ctx, nil, nil, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

// zeros splits the output of a command with -z.
func zeros(out []byte) []string {
	text := strings.TrimSuffix(string(out), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}
