package script

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/workspace"
	"banger/internal/workspace/worktest"
)

// upTest is an installation of the matrix, with a repository that commands work on.
type upTest struct {
	*matrix
	repo      *worktest.Repo
	files     map[string]string // of the repository
	untouched func()
	temporary string // where commands have their temporary files
}

// story is a command on a workspace, which is killed, with what comes before it.
type story struct {
	name    string
	prepare func(u *upTest)
	args    []string
	from    string // the first point that counts: those before it are another story's
}

var stories = []story{
	{name: "first up", prepare: (*upTest).nothing, args: []string{"up", "-d"}},
	{name: "up that keeps its setup", prepare: (*upTest).nothing, args: []string{"up", "-d", "--cache"}, from: "setup begun"},
	{name: "up again", prepare: (*upTest).down, args: []string{"up", "-d"}},
	{name: "down", prepare: (*upTest).up, args: []string{"down"}},
}

// newUpTest makes an installation with a repository. The repository has a banger.toml: the guest would
// run what banger guesses on this host.
func newUpTest(t *testing.T, of parts, repo *worktest.Repo) *upTest {
	t.Helper()
	m := newMatrix(t, of)
	u := &upTest{matrix: m, repo: &worktest.Repo{Dir: filepath.Join(m.dir, "a work tree")}, temporary: filepath.Join(m.dir, "tmp")}
	m.ok(errors.Join(os.CopyFS(u.repo.Dir, os.DirFS(repo.Dir)), os.Mkdir(u.temporary, 0o700)))
	program, err := os.Executable()
	m.ok(err)
	m.ok(os.Symlink(program, filepath.Join(m.dir, theCLI)))
	u.repo.Write(t, "banger.toml", fmt.Sprintf("memory = \"128M\"\nports = [\"127.0.0.1:%d:80\"]\nsetup = [\"echo ran >> ran\", \"echo end >> end\"]\n", m.free))
	u.repo.Run(t, "status") // what it writes into the index, it has written
	m.asProcess()
	u.files, u.untouched = worktest.Files(t, u.repo.Dir, ".git"), u.repo.Untouched(t)
	return u
}

// upRepo is a repository with all kinds of changes.
func upRepo(t *testing.T) *worktest.Repo {
	t.Helper()
	r := worktest.New(t)
	r.Commit(t, map[string]string{".gitignore": "*.log\n", "kept": "1\n", "changed": "1\n", "removed": "1\n", "dir/program": "#!/bin/sh\n", "banger.toml": ""})
	r.Write(t, "changed", "2\n")
	r.Write(t, "staged", "2\n")
	r.Run(t, "add", "staged")
	r.Write(t, "untracked größer", "2\n")
	if err := os.Remove(filepath.Join(r.Dir, "removed")); err != nil {
		t.Fatal(err)
	}
	return r
}

// command is banger, to be run in the repository.
func (u *upTest) command(args ...string) (cmd *exec.Cmd, out, stderr *bytes.Buffer) {
	cmd = exec.Command(filepath.Join(u.dir, theCLI), args...)
	out, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = u.repo.Dir, out, stderr, 20*time.Second
	cmd.Env = append(os.Environ(), "BANGER_HOME="+u.home, "BANGERD="+filepath.Join(u.dir, theDaemon), "TMPDIR="+u.temporary,
		"GIT_CEILING_DIRECTORIES="+u.dir, faultpoint.Env+"="+filepath.Join(u.dir, "point"))
	return cmd, out, stderr
}

// banger runs a command to its end, which is a good one.
func (u *upTest) banger(args ...string) string {
	u.t.Helper()
	cmd, out, stderr := u.command(args...)
	if err := cmd.Run(); err != nil {
		u.t.Fatalf("banger %q: %v: %s", args, err, stderr)
	}
	return out.String()
}

func (u *upTest) up() { u.t.Helper(); u.banger("up", "-d") }

func (u *upTest) down() { u.t.Helper(); u.up(); u.banger("down") }

// nothing removes what earlier cases have made.
func (u *upTest) nothing() {
	u.t.Helper()
	for _, vm := range u.own() {
		u.removeVM(vm.ID)
	}
	for _, name := range u.kept() {
		u.ok(u.client.Images().Delete(u.t.Context(), name))
	}
}

// kept are the images of setups.
func (u *upTest) kept() (kept []string) {
	u.t.Helper()
	images, err := u.client.Images().List(u.t.Context())
	u.ok(err)
	for _, i := range images {
		for _, name := range i.Names {
			if strings.HasPrefix(name, "localhost/setup/") {
				kept = append(kept, name)
			}
		}
	}
	return kept
}

// own are the VMs of the workspace.
func (u *upTest) own() (own []api.VM) {
	u.t.Helper()
	vms, err := u.client.VMs().List(u.t.Context())
	u.ok(err)
	for _, vm := range vms {
		if vm.Labels[workspace.Label] == u.repo.Dir {
			own = append(own, vm)
		}
	}
	return own
}

// checkEnd proves that a command whose daemon was killed has not noticed, and one whose guest was
// killed says so.
func (u *upTest) checkEnd(victim, said string, err error) {
	u.t.Helper()
	var exit *exec.ExitError
	errors.As(err, &exit)
	switch {
	case victim == theCLI && exit != nil && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
	case victim != theCLI && err == nil:
	case victim == theGuest && exit != nil && exit.ExitCode() == 125 && strings.Contains(said, "banger: ") && strings.Count(said, "the VM has stopped") <= 1:
	default:
		u.t.Errorf("the command ended with %v: %s", err, said)
	}
}

// checkDown proves that the next command stops the VM.
func (u *upTest) checkDown() {
	u.t.Helper()
	u.banger("down")
	if own := u.own(); len(own) != 1 || own[0].PID > 0 {
		u.t.Errorf("after down there is %+v", own)
	}
}

// afterKill proves that the next command has all that the killed one was to make: one VM, with the
// files, in which the setup has run.
func (u *upTest) afterKill(ran int) {
	u.t.Helper()
	want := strings.Repeat("ran\n", ran)
	if got := u.banger("up", "--", "cat", "ran"); got != want {
		u.t.Errorf("the setup has run %q, want %q", got, want)
	}
	own := u.own()
	if len(own) != 1 || own[0].State != api.StateRunning {
		u.t.Fatalf("the workspace has %+v", own)
	}
	u.checkGuest(own[0])
	u.checkStates(own[0])
	u.untouched()
	if now := worktest.Files(u.t, u.repo.Dir, ".git"); !maps.Equal(now, u.files) {
		u.t.Errorf("this host has %q, and had %q", now, u.files)
	}
	if left := names(u.t, u.temporary); len(left) > 0 {
		u.t.Errorf("left in the temporary directory: %v", left)
	}
	u.check()
}

// checkStates proves that banger remembers the VM that there is, and the setups whose images there are.
func (u *upTest) checkStates(vm api.VM) {
	u.t.Helper()
	dir := filepath.Join(u.paths.Workspaces(), names(u.t, u.paths.Workspaces())[0])
	if got := names(u.t, filepath.Join(dir, "vms")); !slices.Equal(got, []string{vm.ID}) {
		u.t.Errorf("banger remembers the VMs %v, and there is %s", got, vm.ID)
	}
	for _, name := range names(u.t, filepath.Join(dir, "vms", vm.ID)) {
		if !slices.Contains([]string{"shipment.json", "shipped"}, name) {
			u.t.Errorf("left of the VM: %s", name)
		}
	}
	var remembered []string
	setups, err := workspace.SetupsIn(dir).All()
	u.ok(err)
	for _, s := range setups {
		remembered = append(remembered, s.Name)
	}
	if images := u.kept(); !slices.Equal(images, remembered) {
		u.t.Errorf("banger remembers the setups %v, and there are the images %v", remembered, images)
	}
}

// checkGuest proves that the guest has the files of the host, what the setup made, and a repository.
func (u *upTest) checkGuest(vm api.VM) {
	u.t.Helper()
	dir := filepath.Join(u.paths.VM(vm.ID), "fake-root/workspaces", filepath.Base(u.repo.Dir))
	there := worktest.Files(u.t, dir, ".git")
	if !strings.HasSuffix(there["end"], "end\n") {
		u.t.Errorf("the setup did not run to its end: %q", there["end"])
	}
	delete(there, "ran")
	delete(there, "end")
	if !maps.Equal(there, u.files) {
		u.t.Errorf("the guest has %q, and this host %q", there, u.files)
	}
	guest := &worktest.Repo{Dir: dir}
	guest.Run(u.t, "fsck", "--no-progress")
	if head := guest.Run(u.t, "rev-parse", "HEAD"); head != u.repo.Run(u.t, "rev-parse", "HEAD") {
		u.t.Errorf("HEAD of the guest is %s", head)
	}
}

// TestUpKilled: the command, the daemon or the guest is killed at every point that a command on a
// workspace reaches, in itself and in the daemon. The next command has all that the killed one was
// to make, nothing is left over, and nothing of the user's has changed.
func TestUpKilled(t *testing.T) {
	of, repo := newParts(t), upRepo(t)
	t.Run("stories", func(t *testing.T) {
		for _, s := range stories {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				u := newUpTest(t, of, repo)
				for _, c := range chosen(u.observed(s)) {
					t.Run(c.victim+" at "+c.point, func(t *testing.T) {
						u.t = t
						s.prepare(u)
						said, err := u.killed(c, s.args)
						u.checkEnd(c.victim, said, err)
						if s.args[0] == "down" {
							u.checkDown()
						}
						u.afterKill(c.setups())
					})
				}
				u.t = t
			})
		}
	})
}
