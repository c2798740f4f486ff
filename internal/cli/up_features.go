package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/config"
	"banger/internal/paths"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/feature"
	"banger/internal/workspace/project"
)

// setupKey names the setup with all that decides what comes of it; image is the digest of the image on
// which it runs.
func (u *up) setupKey(image string) (string, error) {
	top := u.w.Repo.Top()
	key, err := u.project.CacheKey(image, project.CacheFiles(top))
	if err != nil || len(u.container.Features) == 0 {
		return key, err
	}
	sum := sha256.Sum256([]byte(key + feature.Key(u.container.Wanted(top))))
	return hex.EncodeToString(sum[:]), nil
}

// getFeatures gets the features of devcontainer.json, with what they depend on, unless it has.
func (u *up) getFeatures(ctx context.Context, c *client.Client) error {
	if u.features != nil || len(u.container.Features) == 0 {
		return nil
	}
	p, err := paths.User() // also in system mode: it is the command that gets them, as the user
	if err != nil {
		return err
	}
	how, err := u.registries(ctx, c)
	if err != nil {
		return err
	}
	cache, err := feature.OpenCache(ctx, p.Features(), how)
	if err != nil {
		return err
	}
	defer cache.Close()
	progress := u.a.std.newProgress()
	defer progress.done()
	u.features, err = cache.Resolve(ctx, u.container.Wanted(u.w.Repo.Top()), u.report(progress))
	return err
}

func (u *up) closeFeatures() {
	if u.features != nil {
		u.features.Close()
	}
}

// registries are the daemon's settings for registries, as they count for images.
func (u *up) registries(ctx context.Context, c *client.Client) (how feature.Registries, err error) {
	shown, _, err := u.a.settings(ctx, c, "", "")
	if err != nil {
		return how, err
	}
	how.CAFile = valueOf(shown, "registry_ca")
	how.AuthFile = valueOf(shown, "registry_auth")
	if how.Mirrors, err = config.ParseMirrors(valueOf(shown, "registry_mirrors")); err != nil {
		return how, err
	}
	if proxy := valueOf(shown, "https_proxy"); proxy != "" {
		how.Proxy, err = url.Parse(proxy)
	}
	return how, err
}

// useFeatures applies what the features ask for that are installed in the VM. What the file itself
// says comes after it, and counts more.
func (u *up) useFeatures(i *devcontainer.Installed) {
	if i == nil {
		return
	}
	env := maps.Clone(i.Env)
	for _, name := range u.project.HostEnv {
		delete(env, name)
	}
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, u.project.Env)
	u.project.Env = env
	u.container.Hooks = i.Hooks.Then(u.container.Hooks)
	u.project.Setup = u.container.Hooks.Once()
}

// installFeatures installs the features, unless the same ones are installed, and returns what they
// ask for; before is that of those that were installed, or nil.
func (u *up) installFeatures(ctx context.Context, c *client.Client, vm api.VM, before *devcontainer.Installed) (*devcontainer.Installed, error) {
	wanted := u.container.Wanted(u.w.Repo.Top())
	if u.installed != nil || len(wanted.Features) == 0 {
		return u.installed, nil
	}
	key := feature.Key(wanted)
	if before != nil && before.Key == key && !u.setUp {
		return before, nil
	}
	if err := u.getFeatures(ctx, c); err != nil {
		return nil, err
	}
	for _, id := range u.features.Unknown(wanted.Override) {
		u.a.std.note("not applied: overrideFeatureInstallOrder: %s is not among the features", id)
	}
	installed := &devcontainer.Installed{Key: key}
	for _, f := range u.features.Features {
		for _, skipped := range installed.Add(u.container, wanted.Top, f, imageVariables(vm)) {
			u.a.std.note("feature %s: not applied: %s: %s", f.ID, printable(skipped.Key), skipped.Why)
		}
		err := u.cache.timed(func() error { return u.installFeature(ctx, c.Guest(vm.ID), vm, f, installed.Env) })
		if err != nil {
			return nil, err
		}
	}
	u.installed = installed
	return installed, nil
}

// imageVariables finds variables that a command in a VM has without features.
func imageVariables(vm api.VM) func(name string) string {
	return func(name string) (value string) {
		if name == "PATH" {
			value = config.UsualPath // which the agent sets, too
		}
		if vm.ImageConfig != nil {
			for _, entry := range vm.ImageConfig.Env {
				if n, v, _ := strings.Cut(entry, "="); n == name {
					value = v
				}
			}
		}
		return value
	}
}

// install finds the home directories of two users, which install.sh gets, and becomes that. The
// shell reads /etc/passwd: an image may have no program for it, and need not have that file.
const install = `home() {
	if [ ! -r /etc/passwd ]; then
		[ "$1" != root ] || echo "$HOME"
		return
	fi
	while IFS=: read -r name _ uid _ _ dir _; do
		if [ "$name" = "$1" ] || [ "$uid" = "$1" ]; then echo "$dir"; return; fi
	done </etc/passwd
}
_REMOTE_USER_HOME=$(home "$_REMOTE_USER")
_CONTAINER_USER_HOME=$(home "$_CONTAINER_USER")
export _REMOTE_USER_HOME _CONTAINER_USER_HOME
exec ./install.sh`

// installFeature runs a feature's install.sh as the guest's root. env are the variables of the
// features so far, its own included.
func (u *up) installFeature(ctx context.Context, g *client.Guest, vm api.VM, f *feature.Feature, env map[string]string) error {
	u.a.std.note("setup: feature %s", f.ID)
	defer u.removeFeature(ctx, g, f)
	if err := g.Put(ctx, "/", f.Pack(), nil); err != nil {
		return err
	}
	exec := api.Exec{Argv: []string{"/bin/sh", "-c", install}, Dir: "/" + f.Dir}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		exec.Env = append(exec.Env, name+"="+env[name])
	}
	containerUser, remoteUser := u.featureUsers(vm)
	exec.Env = append(exec.Env, "_CONTAINER_USER="+containerUser, "_REMOTE_USER="+remoteUser)
	exec.Env = append(exec.Env, f.Variables()...)
	code, err := u.asRoot(ctx, g, exec)
	if err == nil && code != 0 {
		err = api.Errorf(api.KindInvalid, "the feature %s could not be installed: its install.sh ended with exit status %d", f.ID, code).
			WithHint("banger up   tries it again; banger vm shell %s   opens a shell without it; or remove it from %s", g.Name(), u.container.File)
	}
	return err
}

// featureUsers are the names of the container's user and of who works in it.
func (u *up) featureUsers(vm api.VM) (container, remote string) {
	container = u.container.ContainerUser
	if container == "" && vm.ImageConfig != nil {
		container = vm.ImageConfig.User
	}
	container, _, _ = strings.Cut(cmp.Or(container, "root"), ":")
	remote, _, _ = strings.Cut(u.project.User, ":")
	return container, cmp.Or(remote, container)
}

// removalTime bounds the removal of a feature's files.
const removalTime = 20 * time.Second

// removeFeature removes the files of a feature from the guest, also if the user has interrupted its
// installation, and those of an earlier one whose client was killed.
func (u *up) removeFeature(ctx context.Context, g *client.Guest, f *feature.Feature) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer cancel()
	dir := path.Dir("/" + f.Dir) // of all features that are installed now
	code, err := u.asRoot(ctx, g, api.Exec{Argv: []string{"/bin/sh", "-c", "rm -rf " + feature.Place + "*"}, Dir: path.Dir(dir)})
	if err != nil || code != 0 {
		u.a.std.note("the files of the feature %s stay in the VM: %s", f.ID, dir)
	}
}
