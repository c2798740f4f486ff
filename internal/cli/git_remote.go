package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/client"
	"banger/internal/host/console"
	"banger/internal/host/fsx"
	"banger/internal/paths"
	"banger/internal/workspace"
	"banger/internal/workspace/gitremote"
)

// GitRemoteProgram is the name under which git calls banger for URLs such as banger::dev.
const GitRemoteProgram = gitremote.Program

// GitRemote is banger under the name GitRemoteProgram: a remote helper of git's. args are the name
// of the remote and the address. It returns the exit status.
func GitRemote(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, interrupted, stop := untilSignal()
	defer stop()
	a := newApp(stdin, stdout, stderr, os.Getenv)
	a.signals = interrupted
	return a.conclude(a.gitRemote(ctx, args), interrupted)
}

func (a *app) gitRemote(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return api.Errorf(api.KindInvalid, "%s is a part of git, which runs it for URLs that begin with %s", GitRemoteProgram, gitremote.Scheme).
			WithHint("git fetch %sNAME", gitremote.Scheme)
	}
	address, err := gitremote.Parse(args[1])
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	vm, err := c.VMs().Show(ctx, address.VM)
	if err != nil {
		return err
	}
	exec, err := repositoryOf(vm, address.Path)
	if err != nil {
		return err
	}
	bounds, err := a.boundsOfFetch()
	if err != nil {
		return err
	}
	in, out := bufio.NewReader(a.std.in), a.std.out
	return gitremote.Serve(in, out, func(service string) error {
		exec.Argv = []string{service, "."}
		exec.Env = []string{"GIT_PROTOCOL=" + cmp.Or(a.std.env("GIT_PROTOCOL"), "version=2")}
		a.std.in, a.std.out = bounds.Requests(in), bounds.Answers(gitremote.Accepted(out))
		err := a.serviceOf(ctx, c.Guest(vm.ID), exec, bounds)
		return cmp.Or(bounds.Err(), err) // which says more
	})
}

// spareRoom is what a fetch leaves free on the disk of the repository.
const spareRoom = 1 << 30

// boundsOfFetch are those of what a guest sends. Git runs a remote helper where itself was run, and
// says which repository it works on, unless it works on none.
func (a *app) boundsOfFetch() (*gitremote.Bounds, error) {
	total, err := gitremote.LimitOf(a.std.env(gitremote.LimitVariable))
	if err != nil {
		return nil, err
	}
	repository := cmp.Or(a.std.env("GIT_DIR"), ".")
	return &gitremote.Bounds{Names: gitremote.MaxNames, Total: total, Room: func() error { return fsx.NeedSpace(repository, spareRoom) }}, nil
}

// serviceOf connects git with one of its programs in the guest. What that says to people is the
// guest's: control characters of it do not reach a terminal.
func (a *app) serviceOf(ctx context.Context, g *client.Guest, exec api.Exec, bounds *gitremote.Bounds) error {
	safe := console.NewTerminalWriter(bounds.Answers(a.std.err))
	at := a.sessions()
	at.std = &streams{in: a.std.in, out: a.std.out, err: safe, env: a.std.env}
	err := errors.Join(at.run(ctx, g, exec), safe.Close())
	var status statusError
	if errors.As(err, &status) && status == notFound { // the agent has said which program
		return noGit(g.Name())
	}
	return err
}

// notFound is the exit status of a command that does not exist (POSIX, shell command language
// 2.8.2).
const notFound = 127

func noGit(vm string) error {
	return api.Errorf(api.KindUnsupported, "VM %s has no git, so no commits come from it or go to it", vm).
		WithHint("banger work branch NAME   makes a branch of what has changed in its files; or install git in the VM")
}

// repositoryOf returns how a command runs in a repository in a VM: in its directory, as the user
// that up has given the files to. Git refuses the repository of another user, and as root it would
// leave files there that this user cannot write.
func repositoryOf(vm api.VM, path string) (api.Exec, error) {
	p, err := paths.User()
	if err != nil {
		return api.Exec{}, err
	}
	s, known, err := workspace.ShipmentTo(p.Workspaces(), vm.ID)
	switch {
	case err != nil && path == "":
		return api.Exec{}, err
	case path == "" && !(known && s.Done):
		return api.Exec{}, api.Errorf(api.KindNotFound, "VM %s has no files that you sent to it with banger up", vm.Name).
			WithHint("%s%s:/PATH   is the repository at /PATH in the VM", gitremote.Scheme, vm.Name)
	case path == "":
		return api.Exec{Dir: s.Directory, User: s.User}, nil
	case known && within(s.Directory, path):
		return api.Exec{Dir: path, User: s.User}, nil
	}
	return api.Exec{Dir: path}, nil
}

// within reports whether a path of the guest is a directory or below it.
func within(dir, path string) bool {
	rest, found := strings.CutPrefix(filepath.Clean(path), filepath.Clean(dir))
	return found && (rest == "" || rest[0] == '/')
}
