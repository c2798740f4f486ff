package hostfiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/execx"
)

const (
	// gitFile is where git reads a user's configuration beside ~/.gitconfig (git-config(1),
	// FILES).
	gitFile = "~/.config/git/config"
	// maxGit bounds what is compared of a guest's file, in bytes.
	maxGit = 64 << 10
	// gitTime bounds git's own run.
	gitTime = 10 * time.Second
	// gitNotSet is git-config(1)'s exit status for a key that is not set.
	gitNotSet = 1
)

// git copies user.name and user.email into a guest whose user has no configuration of git.
func (cp *copying) git(ctx context.Context) api.SyncedFile {
	f := api.SyncedFile{Host: "git_identity", Guest: gitFile}
	ctx, cancel := context.WithTimeout(ctx, copyTime)
	defer cancel()
	text, err := cp.identity(ctx)
	if err != nil {
		return failed(f, err)
	}
	r := Rule{Guest: gitFile}
	to, _, err := cp.target(ctx, r)
	if err != nil {
		return failed(f, err)
	}
	f.Guest = to
	home := path.Dir(path.Dir(path.Dir(to)))
	for _, file := range []string{path.Join(home, ".gitconfig"), to} {
		there, err := read(ctx, cp.c, file, maxGit)
		switch {
		case err == nil && file == to && there == text:
			f.Result = api.SyncCopied
			return f
		case err == nil:
			f.Result, f.Reason = api.SyncKept, "the guest has its own "+file
			return f
		case api.KindOf(err) != api.KindNotFound:
			return failed(f, err)
		}
	}
	dir, err := os.MkdirTemp("", "banger-git-")
	if err != nil {
		return failed(f, err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644); err != nil { //nolint:gosec // the guest's copy has this mode
		return failed(f, err)
	}
	src, err := openWithin(dir, filepath.Join(dir, "config"))
	if err != nil {
		return failed(f, err)
	}
	defer src.Root.Close()
	return cp.place(ctx, f, src, r)
}

// identity returns the configuration for the guest, as git of this host tells it.
func (cp *copying) identity(ctx context.Context) (string, error) {
	if cp.homeErr != nil {
		return "", cp.homeErr
	}
	ctx, cancel := context.WithTimeout(ctx, gitTime)
	defer cancel()
	var out bytes.Buffer
	env := []string{"HOME=" + cp.home, "PATH=" + os.Getenv("PATH")}
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		env = append(env, "XDG_CONFIG_HOME="+dir)
	}
	err := execx.Run(ctx, execx.Cmd{
		Name: "git", Args: []string{"config", "--global", "--includes", "--null", "--get-regexp", `^user\.(name|email)$`},
		Env: env, Bare: true, Dir: cp.home, Stdout: &out, Package: "git",
	})
	var status interface{ ExitCode() int }
	if err != nil && !(errors.As(err, &status) && status.ExitCode() == gitNotSet) {
		return "", err
	}
	values := map[string]string{}
	for pair := range strings.SplitSeq(out.String(), "\x00") {
		key, value, _ := strings.Cut(pair, "\n")
		values[key] = value // the last one counts
	}
	text := "# From this VM's host: banger's setting git_identity.\n[user]\n"
	for _, key := range []string{"name", "email"} {
		value := values["user."+key]
		if value == "" {
			return "", api.Errorf(api.KindNotFound, "git's configuration of this host has no user.%s", key).
				WithHint("git config --global user.%s …", key)
		}
		text += fmt.Sprintf("\t%s = %s\n", key, gitQuote(value))
	}
	return text, nil
}

// gitQuote quotes a value for a configuration of git (git-config(1), Syntax).
func gitQuote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(value) + `"`
}
