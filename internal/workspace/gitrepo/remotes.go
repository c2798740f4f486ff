package gitrepo

import (
	"context"
	"regexp"
	"strings"

	"banger/internal/workspace/giturl"
)

// remotes copies the names and URLs of remotes, without credentials. A remote on this host is left
// out: the guest cannot reach it, and its path is nobody's business there.
func (b *builder) remotes(ctx context.Context) error {
	out, err := b.from.Git(ctx, nil, nil, "config", "-z", "--list")
	if err != nil {
		return err
	}
	fetched := map[string]bool{}
	for _, entry := range zeros(out) {
		key, value, _ := strings.Cut(entry, "\n")
		name, push := "", false
		if rest, ok := strings.CutPrefix(key, "remote."); ok {
			if name, ok = strings.CutSuffix(rest, ".url"); !ok {
				name, push = strings.CutSuffix(rest, ".pushurl")
				ok = push
			}
			if !ok {
				continue
			}
		}
		clean := giturl.Public(value)
		if !remoteName.MatchString(name) || clean == "" {
			continue
		}
		setting := "remote." + name + ".url"
		if push {
			setting = "remote." + name + ".pushurl"
		}
		if _, err := b.git(ctx, nil, "config", "--add", setting, clean); err != nil {
			return err
		}
		if push || fetched[name] {
			continue
		}
		fetched[name] = true
		if _, err := b.git(ctx, nil, "config", "remote."+name+".fetch", "+refs/heads/*:refs/remotes/"+name+"/*"); err != nil {
			return err
		}
	}
	return nil
}

// remoteName is what ordinary remotes are called.
var remoteName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/+-]*$`)
