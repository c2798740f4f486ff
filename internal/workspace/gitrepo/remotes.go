package gitrepo

import (
	"context"
	"net/url"
	"regexp"
	"strings"
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
		clean := publicURL(value)
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

// scp is the short form of an ssh URL (git-fetch(1)): a host with a colon before the first slash.
// A host has more than one letter, or it would be a drive.
var scp = regexp.MustCompile(`^([^/:@\s]+@)?([A-Za-z0-9._-]{2,}|\[[0-9A-Fa-f:.]+\]):[^:@\s][^\s]*$`)

// publicURL returns the URL of a remote without what is secret in it, or "" if the remote is on
// this host, runs a program, or is not understood.
func publicURL(text string) string {
	if strings.Contains(text, "::") { // a remote helper (gitremote-helpers(7))
		return ""
	}
	if !strings.Contains(text, "://") {
		before, _, _ := strings.Cut(text, "/")
		_, after, _ := strings.Cut(before, ":")
		if !scp.MatchString(text) || strings.Contains(after, "@") {
			return ""
		}
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return ""
	}
	switch strings.ToLower(u.Scheme) {
	case "ssh", "git+ssh", "ssh+git":
		if u.User != nil { // a user name says which account, and is no secret
			u.User = url.User(u.User.Username())
		}
	case "http", "https", "git", "ftp", "ftps":
		u.User = nil // a token is often the user name
	default:
		return ""
	}
	u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = "", "", "", false
	return u.String()
}
