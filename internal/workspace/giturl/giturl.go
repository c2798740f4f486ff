// Package giturl reads the URLs of git's remotes.
package giturl

import (
	"net/url"
	"regexp"
	"strings"
)

// scp is the short form of an ssh URL (git-fetch(1)): a host with a colon before the first slash.
// A host has more than one letter, or it would be a drive.
var scp = regexp.MustCompile(`^([^/:@\s]+@)?([A-Za-z0-9._-]{2,}|\[[0-9A-Fa-f:.]+\]):[^:@\s][^\s]*$`)

// helper begins a URL that names a program for git to run (gitremote-helpers(7)).
var helper = regexp.MustCompile(`^[A-Za-z0-9+.-]*::`)

// Helper reports whether the URL of a remote names a program that git runs for it.
func Helper(text string) bool { return helper.MatchString(text) }

// Public returns the URL of a remote without what is secret in it, or "" if the remote is on
// this host, runs a program, or is not understood.
func Public(text string) string {
	if Helper(text) {
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
		if u.User != nil { // a user name says which account, and is not secret
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
