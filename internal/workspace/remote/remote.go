// Package remote takes a repository that the user has no work tree of: it reads what the user
// calls it, makes a clone in a directory of banger's, and brings the newest into that. It runs git
// as the user, who may be asked for a password by git or ssh. The repository is a stranger's:
// nothing that it names runs here, but for filters that the user's own settings of git have.
package remote

import (
	"cmp"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/workspace/giturl"
)

// Remote is a repository elsewhere, as the user calls it.
type Remote struct {
	// URL has no credentials; that of a directory of this host is a file URL.
	URL string
	// Ref is a branch, a tag, a reference or the id of a commit; empty: the default branch.
	Ref string
	// Report, unless nil, is told how far a transfer is.
	Report api.Report
	// user and password are those of the URL that was given.
	user, password string
}

// String is what the user can type for it: it has no credentials.
func (r Remote) String() string {
	if r.Ref == "" {
		return r.URL
	}
	return r.URL + "#" + r.Ref
}

// refName excludes what git would take for more than one reference, or for none (gitrevisions(7),
// git-fetch(1), git-check-ref-format(1)).
var refName = regexp.MustCompile(`^[^-+^/.\x00-\x20\x7f~:?*\[\\@][^\x00-\x20\x7f~^:?*\[\\]*$`)

// Parse reads a URL, a short form of ssh's or the path of a directory, with #REF after it. A path
// is relative to dir. The path of something that exists may have a # in it.
func Parse(text, dir string) (Remote, error) {
	if before, _, _ := strings.Cut(text, "/"); !strings.Contains(before, ":") {
		if found, err := local(text, dir); err == nil {
			return found, nil
		}
	}
	base, name, named := strings.Cut(text, "#")
	if named && (!refName.MatchString(name) || strings.Contains(name, "..") || strings.Contains(name, "@{")) {
		return Remote{}, api.Errorf(api.KindInvalid, "%.80q is not a valid branch, tag or commit", name).
			WithHint("URL#main takes the branch main; a # of a path is written as file:///home/me/c%%23")
	}
	r, err := parse(base, dir)
	r.Ref = name
	return r, err
}

func parse(text, dir string) (Remote, error) {
	before, _, _ := strings.Cut(text, "/")
	switch {
	case text == "" || strings.HasPrefix(text, "-") || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return Remote{}, api.Errorf(api.KindInvalid, "%.80q is not a valid URL of a repository", hidden(text))
	case giturl.Helper(text):
		return Remote{}, api.Errorf(api.KindInvalid, "cannot clone %.80q: it names a program to run", hidden(text)).
			WithHint("if you trust it: git clone URL DIRECTORY && banger up DIRECTORY")
	case strings.Contains(text, "://"):
		return parseURL(text)
	case strings.Contains(before, ":"):
		if giturl.Public(text) != text {
			return Remote{}, api.Errorf(api.KindInvalid, "%.80q is not a valid URL of a repository", hidden(text)).
				WithHint("without a scheme it is USER@HOST:PATH")
		}
		return Remote{URL: text}, nil
	}
	return local(text, dir)
}

// local is the repository in a directory of this host, or in a bundle.
func local(text, dir string) (Remote, error) {
	full := text
	if !filepath.IsAbs(full) {
		full = filepath.Join(dir, full)
	}
	full, err := filepath.Abs(full)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	if err == nil {
		_, err = os.Stat(full)
	}
	if err != nil || text == "" {
		return Remote{}, api.Errorf(api.KindNotFound, "cannot clone %.80q: it is not a URL, a directory, or a remote of the repository here: %w", hidden(text), fsx.Cause(cmp.Or(err, os.ErrNotExist))).
			WithHint("git remote -v   lists the remotes of the repository that you are in")
	}
	return Remote{URL: "file://" + strings.NewReplacer("%", "%25", "#", "%23", "\n", "%0A").Replace(full)}, nil
}

// ports are the default ones, which do not make another URL.
var ports = map[string]string{"https": "443", "http": "80", "ssh": "22", "git": "9418"}

func parseURL(text string) (Remote, error) {
	if strings.HasPrefix(strings.ToLower(text), "file://") { // which has neither user nor query
		return Remote{URL: "file://" + text[len("file://"):]}, nil
	}
	public := giturl.Public(text)
	u, err := url.Parse(text)
	if err != nil || public == "" || u.RawQuery != "" {
		return Remote{}, api.Errorf(api.KindInvalid, "%.80q is not a valid URL of a repository", hidden(text)).
			WithHint("git clone takes URLs that begin with https://, ssh:// or file://, without a query")
	}
	clean, err := url.Parse(public)
	if err != nil {
		return Remote{}, api.Errorf(api.KindInvalid, "%.80q is not a valid URL of a repository", public)
	}
	clean.Host = strings.ToLower(clean.Host)
	if port := ports[clean.Scheme]; port != "" {
		clean.Host = strings.TrimSuffix(clean.Host, ":"+port)
	}
	r := Remote{URL: strings.TrimRight(clean.String(), "/")}
	if u.User != nil && clean.User == nil {
		r.user = u.User.Username()
		r.password, _ = u.User.Password()
	}
	if strings.ContainsAny(r.user+r.password, "\r\n\x00") { // the form of git-credential(1) has lines
		return Remote{}, api.Errorf(api.KindInvalid, "the user or the password in the URL %.80q has a line break", r.URL)
	}
	return r, nil
}

// hidden is a URL for an error, without what may be a password.
func hidden(text string) string {
	if before, _, queries := strings.Cut(text, "?"); queries {
		text = before + "?…"
	}
	if at := strings.LastIndex(text, "@"); at >= 0 {
		return "…" + text[at:]
	}
	scheme, rest, _ := strings.Cut(text, "://")
	authority, _, _ := strings.Cut(rest, "/")
	if before, _, port := strings.Cut(authority, ":"); port { // or the first half of a password with a #
		return scheme + "://" + before + ":…"
	}
	return text
}

// Directory is the name of a directory for a clone, as git clone makes it of a URL, of letters, digits
// and ._- alone.
func (r Remote) Directory() string {
	_, base, scheme := strings.Cut(r.URL, "://")
	if !scheme {
		base = r.URL
	}
	if at := strings.LastIndexAny(base, ":"); at >= 0 && !strings.Contains(base[at:], "/") {
		base = base[at+1:]
	}
	base = strings.TrimSuffix(path.Base(strings.TrimSuffix(base, "/.git")), ".git")
	base = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-", c):
			return c
		}
		return '-'
	}, base)
	const most = 100 // bytes: a name has 255 at most, and other names are made of this one
	base = strings.Trim(base[:min(len(base), most)], ".-")
	return cmp.Or(base, "repository")
}
