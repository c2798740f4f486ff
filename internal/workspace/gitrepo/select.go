package gitrepo

import (
	"regexp"
	"slices"
	"strings"

	"banger/api"
)

// Select says which files of a workspace ship and are in a snapshot.
type Select struct {
	// Commit selects HEAD's tree alone, whatever lies in the work tree.
	Commit bool
	// IncludeIgnored are patterns of files that ship though git ignores them, as in a
	// .gitignore: one without a slash matches names at any depth, another paths from the top. A
	// directory that matches is meant with everything below it.
	IncludeIgnored []string
	// Any commit of the series with the same tree will do for a snapshot, whatever it is of, so that
	// many snapshots of one state are one.
	Any bool
	// Note, unless nil, receives what a user should know about a path: what is left out, or
	// ships otherwise than git would have it.
	Note func(path, what string)
}

func (o Select) note(path, what string) {
	if o.Note != nil {
		o.Note(path, what)
	}
}

// Included returns what reports whether IncludeIgnored has a path.
func (o Select) Included() (func(path string) bool, error) {
	p, err := newPatterns(o.IncludeIgnored)
	return p.match, err
}

// patterns matches a path against IncludeIgnored.
type patterns []*regexp.Regexp

// newPatterns refuses patterns that are not valid.
func newPatterns(globs []string) (patterns, error) {
	all := make(patterns, 0, len(globs))
	for _, glob := range globs {
		re, err := regexp.Compile(translate(glob))
		bad := strings.Trim(glob, "/") == "" || strings.ContainsRune(glob, 0) || strings.HasPrefix(glob, "!") ||
			slices.ContainsFunc(strings.Split(glob, "/"), func(part string) bool { return part == ".." || part == "." })
		if err != nil || bad {
			return nil, api.Errorf(api.KindInvalid, "%.80q is not a valid pattern of ignored files", glob).
				WithHint("patterns look like .env, *.pem, or config/local.*")
		}
		all = append(all, re)
	}
	return all, nil
}

// translate makes a regular expression of a pattern (gitignore(5)).
func translate(glob string) string {
	glob = strings.TrimSuffix(glob, "/")
	begin := "^"
	if !strings.Contains(glob, "/") {
		begin = "(?:^|/)"
	}
	glob = strings.TrimPrefix(glob, "/")
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		rest := glob[i:]
		switch {
		case strings.HasPrefix(rest, "**/") && (i == 0 || glob[i-1] == '/'):
			b.WriteString("(?:.*/)?")
			i += 2
		case rest[0] == '*':
			b.WriteString("[^/]*")
		case rest[0] == '?':
			b.WriteString("[^/]")
		case rest[0] == '[' && strings.Contains(rest[1:], "]"):
			class := rest[1 : 1+strings.Index(rest[1:], "]")]
			i += len(class) + 1
			if negated, ok := strings.CutPrefix(class, "!"); ok {
				class = "^/" + negated
			}
			b.WriteString("[" + strings.ReplaceAll(class, `\`, `\\`) + "]")
		case rest[0] == '\\' && len(rest) > 1:
			i++
			b.WriteString(regexp.QuoteMeta(rest[1:2]))
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	return "(?s)" + begin + b.String() + "(?:/|$)"
}

func (p patterns) match(path string) bool {
	return slices.ContainsFunc(p, func(re *regexp.Regexp) bool { return re.MatchString(path) })
}
