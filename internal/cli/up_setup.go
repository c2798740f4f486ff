package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"banger/api"
	"banger/client"
	"banger/internal/config"
	"banger/internal/faultpoint"
	"banger/internal/guest/filecopy"
	"banger/internal/guest/hostfiles"
	"banger/internal/size"
	"banger/internal/workspace"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/project"
)

// runSetup installs features, runs the setup, and copies the files of the host that banger.toml
// names, unless that was done.
func (u *up) runSetup(ctx context.Context, c *client.Client, vm api.VM, s workspace.Shipment) error {
	base := cmp.Or(s.BaseImage, vm.ImageDigest)
	key, err := u.setupKey(base)
	if err == nil && u.setUp {
		err = u.cache.renew(base, key)
	}
	if err != nil {
		return err
	}
	switch {
	case s.SetUp == key && !u.setUp:
		u.useFeatures(s.Features)
		return nil
	case s.SetUp != "" && !u.setUp:
		u.useFeatures(s.Features)
		u.a.std.note("the setup, or what it depends on, has changed: banger up --setup   runs it again")
		return nil
	}
	if s.Prepared != key || u.setUp {
		u.explained()
		if err := runCommands(ctx, c, u, vm, &s, key); err != nil {
			return err
		}
	} else {
		u.useFeatures(s.Features)
	}
	if err := u.copyFiles(ctx, c.Guest(vm.ID), vm); err != nil {
		return err
	}
	faultpoint.Reach("setup", "copied")
	s.SetUp = key
	return u.w.Save(s)
}

// runCommands installs features and runs the setup, whose key is given, and keeps the result for other VMs.
func runCommands(ctx context.Context, c *client.Client, u *up, vm api.VM, s *workspace.Shipment, key string) (err error) {
	if s.Features, err = u.installFeatures(ctx, c, vm, s.Features); err != nil {
		return err
	}
	if err := u.w.Save(*s); err != nil { // a command that fails does not install them again
		return err
	}
	u.useFeatures(s.Features)
	for n, command := range u.project.Setup {
		err := u.cache.timed(func() error { return u.setupCommand(ctx, c.Guest(vm.ID), command) })
		if err != nil && u.guessed && ctx.Err() == nil {
			u.a.std.printError(err) // what nobody asked for keeps nobody out
			return nil
		}
		if err != nil {
			return err
		}
		faultpoint.Reach("setup", "command", strconv.Itoa(n+1))
	}
	s.Prepared = key
	if err := u.w.Save(*s); err != nil {
		return err
	}
	faultpoint.Reach("setup", "prepared")
	return u.cache.make(ctx, c, vm, *s, key)
}

// copyFiles copies what the keys files and dotfiles name.
func (u *up) copyFiles(ctx context.Context, g *client.Guest, vm api.VM) error {
	var wanted hostfiles.Wanted
	for _, f := range u.project.Files {
		wanted.Rules = append(wanted.Rules, hostfiles.Rule(f))
	}
	for _, file := range u.project.Dotfiles {
		wanted.Rules = append(wanted.Rules, hostfiles.Rule{Host: file, Guest: file})
	}
	if len(wanted.Rules) == 0 {
		return nil
	}
	done, err := hostfiles.Copy(ctx, g.Dial, vm, wanted)
	for _, f := range done {
		if f.Result == api.SyncFailed || f.Result == api.SyncMissing {
			u.a.std.note("cannot copy %s into VM %s: %s", f.Host, vm.Name, f.Reason)
		}
	}
	return err
}

// setupCommand runs one command of the setup; its output goes to standard error.
func (u *up) setupCommand(ctx context.Context, g *client.Guest, command project.Command) error {
	shown := strings.Join(command, " ")
	if text, ok := command.Script(); ok {
		shown = text
	}
	u.a.std.note("setup: %s", shown)
	code, err := u.asRoot(ctx, g, api.Exec{Argv: command, Dir: u.dir, Env: u.project.Environ(nil)})
	if err == nil && code != 0 {
		again := u.command()
		if u.guessed { // what nobody asked for is not tried again each time
			again += " --setup"
		}
		err = api.Errorf(api.KindInvalid, "the setup failed: %s: exit status %d", shown, code).
			WithHint("%s   tries it again; banger vm shell %s   opens a shell without it", again, g.Name())
	}
	return err
}

// asRoot runs a command as the guest's root, and returns its exit status. It has no input, and
// its output goes to standard error.
func (u *up) asRoot(ctx context.Context, g *client.Guest, exec api.Exec) (int, error) {
	return runAsRoot(ctx, g, exec, u.a.std.showGuestText)
}

// runAsRoot runs a command as the guest's root without input, and returns its exit status. take is called
// for each of its outputs, at the same time.
func runAsRoot(ctx context.Context, g *client.Guest, exec api.Exec, take func(io.Reader) error) (int, error) {
	exec.User = "0"
	session, err := g.Exec(ctx, exec)
	if err != nil {
		return 0, err
	}
	defer session.Close()
	_ = session.Stdin.Close() // it reads nothing
	taken := make(chan error, 2)
	for _, from := range []io.Reader{session.Stdout, session.Stderr} {
		go func() { taken <- take(from) }()
	}
	err = errors.Join(<-taken, <-taken)
	exit, waitErr := session.Wait(ctx)
	if waitErr != nil { // then it is also why the outputs ended
		return exit.Code, waitErr
	}
	return exit.Code, err
}

// placed prepares the files that were sent for who works with them. Features come first, unless
// they are installed: they may make that user.
func (u *up) placed(ctx context.Context, c *client.Client, vm api.VM, installed *devcontainer.Installed) error {
	if _, err := u.installFeatures(ctx, c, vm, installed); err != nil {
		return err
	}
	return u.own(ctx, c.Guest(vm.ID), vm)
}

// owner is the user of the guest who works with the files; empty: root.
func (u *up) owner(vm api.VM) string {
	if u.project.User == "" && vm.ImageConfig != nil {
		return vm.ImageConfig.User
	}
	return u.project.User
}

// own gives the files that were sent to the user of the guest who works with them.
func (u *up) own(ctx context.Context, g *client.Guest, vm api.VM) error {
	user := u.owner(vm)
	if user == "" || user == "root" || user == "0" {
		return nil
	}
	code, err := u.asRoot(ctx, g, api.Exec{Argv: []string{"chown", "-R", user, u.dir}})
	if err == nil && code != 0 {
		err = api.Errorf(api.KindInvalid, "cannot give %s to the user %s of VM %s: chown failed", u.dir, user, vm.Name).
			WithHint("the image must have this user, and the program chown")
	}
	return err
}

// inside completes a command that runs in the workspace.
func (u *up) inside(exec api.Exec) api.Exec {
	if exec.Dir == "" {
		exec.Dir = u.dir
	}
	if exec.User == "" {
		exec.User = u.project.User
	}
	if len(exec.Argv) == 0 && u.project.Shell != "" {
		exec.Argv = []string{u.project.Shell}
	}
	exec.Env = append(u.project.Environ(os.LookupEnv), exec.Env...)
	return exec
}

// runOnStart runs what devcontainer.json wants to be run after each start.
func (u *up) runOnStart(ctx context.Context, g *client.Guest) error {
	if !u.started {
		return nil
	}
	for _, command := range u.container.Hooks.PostStart {
		if err := u.setupCommand(ctx, g, command); err != nil {
			return err
		}
	}
	return nil
}

// explainSkipped says which file describes the VM, and what of it does not apply.
func (u *up) explainSkipped(c devcontainer.Result) {
	u.a.std.note("the VM is as %s says", filecopy.Quote(c.File))
	for _, s := range c.NotApplied {
		u.a.std.note("%s:%d: not applied: %s: %s", filecopy.Quote(c.File), s.Line, filecopy.Quote(s.Key), s.Why)
	}
}

// explain says what was guessed: the setup, with the files that are its reason.
func (u *up) explain(g project.Guess) {
	if u.quiet {
		return
	}
	for _, why := range g.Why["setup"] {
		u.a.std.note("setup for %s", why)
	}
	u.a.std.notes(g.Noticed)
	if len(g.Config.Setup) > 0 {
		u.a.std.note("that is a guess: `banger up --write` makes a %s of it, to change", project.Name)
	}
}

// writeProject writes the guess as a banger.toml, unless there is one.
func (u *up) writeProject() error {
	top := u.w.Repo.Top()
	guess, err := project.Look(top, config.DetectHost())
	if err != nil {
		return err
	}
	path := filepath.Join(top, project.Name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, syscall.EEXIST) {
		return api.Errorf(api.KindConflict, "cannot write %s: it exists already", path)
	}
	if err != nil {
		return api.Errorf(api.KindDenied, "cannot write %s: %w", path, err)
	}
	if err := errors.Join(guess.Write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	_, err = fmt.Fprintln(u.a.std.out, path)
	return err
}

// listShipment lists what would be sent.
func (u *up) listShipment(ctx context.Context) error {
	u.explained()
	selection := u.ship.selection()
	selection.Note = func(path, what string) { u.a.std.note("%s: %s", filecopy.Quote(path), what) }
	files, err := u.w.Repo.Files(ctx, selection)
	if err != nil {
		return err
	}
	var total int64
	t := newTable("SIZE", "FILE", "")
	for _, f := range files {
		total += f.Size
		t.add(size.Format(f.Size), printable(f.Path), u.secret(f))
	}
	if err := t.write(u.a.std.out); err != nil {
		return err
	}
	u.a.std.note("%s, %s, would go to %s", plural(len(files), "file"), size.Format(total), filecopy.Quote(u.dir))
	return nil
}

// secret says why a file looks as if it had a secret in it.
func (u *up) secret(f gitrepo.File) string {
	var head []byte
	if !u.ship.commit && f.Mode.IsRegular() {
		if file, err := os.OpenInRoot(u.w.Repo.Top(), f.Path); err == nil {
			head, _ = io.ReadAll(io.LimitReader(file, gitrepo.SecretHead))
			file.Close()
		}
	}
	if why := gitrepo.Secret(f.Path, head); why != "" {
		return "looks like " + why
	}
	return ""
}
