// Package programs asks the programs of a version of banger what an update has to know, and
// has them work on the store. It trusts what they print as little as it can.
package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/host/execx"
	"banger/internal/paths"
	"banger/internal/update/release"
)

// Programs runs a version's programs as the owner if they work on the owner's files.
// The owner may trace them and control what they do and print (ptrace(2)), so their
// output only decides about the owner's own store. Decisions about root's files use
// programs run as root, see Files.
type Programs struct {
	System bool
	Owner  *syscall.Credential // nil: the current user
	Env    []string            // in system mode beside RootEnv
}

// RootEnv is the environment of the programs that root runs here, also as the owner:
// nothing of root's own environment, which the owner could read.
var RootEnv = []string{paths.ModeEnv + "=system", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

// Schema compares the store's schema version with a program's.
type Schema struct {
	Have, Known int
	Cannot      string // why the version cannot use the store; else empty
}

// checkTimeout bounds the check of a program, storeTimeout work on the store.
const (
	checkTimeout = 20 * time.Second
	storeTimeout = 2 * time.Minute
)

// maxOutput bounds what is read of a program's output.
const maxOutput = 1 << 20

var errTooMuchOutput = errors.New("its output is too long")

// cappedBuffer is a buffer that holds at most maxOutput bytes.
type cappedBuffer struct{ bytes.Buffer }

func (c *cappedBuffer) Write(p []byte) (int, error) {
	if c.Len()+len(p) > maxOutput {
		return 0, errTooMuchOutput
	}
	return c.Buffer.Write(p)
}

func (p Programs) run(ctx context.Context, limit time.Duration, program string, args ...string) ([]byte, error) {
	c := execx.Cmd{Name: program, Args: args, Attr: &syscall.SysProcAttr{Credential: p.Owner}}
	if p.System {
		c.Env, c.Bare = slices.Concat(RootEnv, p.Env), true
		c.Attr.Setsid = true // the owner's program must not control root's terminal
	}
	return output(ctx, limit, c)
}

func output(ctx context.Context, limit time.Duration, c execx.Cmd) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end within %s", limit))
	defer cancel()
	var out cappedBuffer
	c.Dir, c.Stdout = "/", &out
	err := execx.Run(ctx, c)
	return out.Bytes(), err
}

func (p Programs) bangerd(ctx context.Context, limit time.Duration, dir string, args ...string) ([]byte, error) {
	if p.System {
		args = append([]string{"--system"}, args...)
	}
	return p.run(ctx, limit, filepath.Join(dir, "bangerd"), args...)
}

// Version asks a version for its number. It runs as root, like Files, so that the owner
// cannot change the answer.
func (p Programs) Version(ctx context.Context, dir string) (string, error) {
	p.Owner = nil
	out, err := p.run(ctx, checkTimeout, filepath.Join(dir, "banger"), "--version")
	version := ""
	if err == nil {
		version, err = parseVersionOutput(out)
	}
	if err != nil {
		return "", api.Errorf(api.KindUnsupported, "cannot use the new version: its program does not work: %w", err)
	}
	return version, nil
}

// versionOutput is what `banger --version` prints.
var versionOutput = regexp.MustCompile(`^banger ([^ \n]{1,64}) \(commit [0-9a-z-]{1,64}, go[0-9a-zA-Z.-]{1,40}, linux/(?:amd64|arm64), protocol [0-9]{1,5}\)\n$`)

// parseVersionOutput parses exactly what `banger --version` prints.
func parseVersionOutput(out []byte) (string, error) {
	m := versionOutput.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("it does not print its version: %.200q", out)
	}
	version := string(m[1])
	if !release.ValidVersion(version) {
		return "", fmt.Errorf("%q is not a valid release version", version)
	}
	return version, nil
}

// exitMigrates and exitCannot are the statuses of `bangerd --check-migrations` beside
// 0.
const (
	exitMigrates = 1
	exitCannot   = 2
)

// Migrations asks a version what it would change in the store.
func (p Programs) Migrations(ctx context.Context, dir string) (Schema, error) {
	out, err := p.bangerd(ctx, checkTimeout, dir, "--check-migrations")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitCannot {
		return Schema{Cannot: api.AsError(err).Message}, nil
	}
	if errors.As(err, &exit) && exit.ExitCode() == exitMigrates {
		err = nil
	}
	var s Schema
	if err == nil {
		s, err = parseMigrations(out)
	}
	if err == nil && (exit != nil) != (s.Have < s.Known) {
		err = fmt.Errorf("its exit status contradicts its output: %.200q", out)
	}
	if err != nil {
		return s, api.Errorf(api.KindUnsupported, "cannot use the new version: it does not report what it would do to the store: %w", err)
	}
	return s, nil
}

var migrationsOutput = regexp.MustCompile(`^schema ([0-9]{1,5}), known ([0-9]{1,5})\n$`)

func parseMigrations(out []byte) (Schema, error) {
	m := migrationsOutput.FindSubmatch(out)
	if m == nil {
		return Schema{}, fmt.Errorf("it prints %.200q", out)
	}
	have, _ := strconv.Atoi(string(m[1])) // five digits
	known, _ := strconv.Atoi(string(m[2]))
	if have > known {
		return Schema{}, fmt.Errorf("it prints %.200q", out)
	}
	return Schema{Have: have, Known: known}, nil
}

// BackUp has a version copy the store.
func (p Programs) BackUp(ctx context.Context, dir, name string) error {
	_, err := p.bangerd(ctx, storeTimeout, dir, "--backup-store", name)
	return err
}

// Restore has a version restore such a copy.
func (p Programs) Restore(ctx context.Context, dir, name string) error {
	_, err := p.bangerd(ctx, storeTimeout, dir, "--restore-store", name)
	return err
}

// exitUsage is the status of a command that does not exist.
const exitUsage = 2

// Commands asks a version for the names of its links on PATH. It runs as root, like Files: root makes them. A
// version from before there was the question answers with none.
func (p Programs) Commands(ctx context.Context, dir string) ([]string, error) {
	p.Owner = nil
	out, err := p.run(ctx, checkTimeout, filepath.Join(dir, "banger"), "update-commands")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitUsage {
		return nil, nil
	}
	var names []string
	if err == nil {
		err = json.Unmarshal(out, &names)
	}
	if err == nil {
		err = commands.Check(names)
	}
	if err != nil {
		return nil, api.Errorf(api.KindUnsupported, "cannot use the new version: it does not list its commands: %w", err)
	}
	return names, nil
}

// Files asks a version for its unit files, by path. Root writes them, so the program
// runs as root, where the owner cannot interfere. It is in a directory that only root
// writes, and it was signed or was installed before; its bangerd-root is run as root as
// soon as the version is switched to.
func Files(ctx context.Context, dir string) (map[string]string, error) {
	out, err := output(ctx, checkTimeout, execx.Cmd{Name: filepath.Join(dir, "banger"), Args: []string{"update-files"}, Env: RootEnv, Bare: true})
	files := map[string]string{}
	if err == nil {
		err = json.Unmarshal(out, &files)
	}
	if err != nil {
		return nil, api.Errorf(api.KindUnsupported, "cannot use the new version: it does not list its unit files: %w", err)
	}
	return files, nil
}
