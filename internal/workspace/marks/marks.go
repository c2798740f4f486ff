// Package marks says which changes of a tree deserve a look before they reach a host: files that
// run there without being asked for or by habit, and what a reader would not see.
package marks

import (
	"bytes"
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"unicode/utf8"
)

// File is a file that was added or changed.
type File struct {
	Path string
	// Mode and OldMode are git's: 100644, 100755 or 120000; OldMode is empty for a new file.
	Mode, OldMode string
	// Content and Old are the new and the old content, or target of a link. Content that is
	// nil was not looked at.
	Content, Old []byte
}

// Modes of git.
const (
	modeExec = "100755"
	modeLink = "120000"
)

// Of returns the reasons for which a file deserves a look, in plain words.
func Of(f File) []string {
	var all []string
	for _, r := range rules {
		if r.matches(f.Path) && r.changed(f) {
			all = append(all, r.why)
		}
	}
	if f.Mode == modeLink {
		if why := leaves(f.Path, string(f.Content)); why != "" {
			all = append(all, why)
		}
	} else {
		all = append(all, ofContent(f)...)
	}
	if name := invisible([]byte(f.Path)); name != "" {
		all = append(all, "its name has "+name)
	}
	return all
}

func (r rule) matches(name string) bool {
	pattern, anchored := strings.CutPrefix(strings.ToLower(r.at), "/")
	name = strings.ToLower(name)
	for {
		if matchHere(pattern, name) {
			return true
		}
		_, rest, more := strings.Cut(name, "/")
		if anchored || !more {
			return false
		}
		name = rest
	}
}

// matchHere matches a pattern with a name from its beginning.
func matchHere(pattern, name string) bool {
	if dir, found := strings.CutSuffix(pattern, "/**"); found {
		return strings.HasPrefix(name, dir+"/")
	}
	matched, _ := path.Match(pattern, name)
	return matched
}

// changed reports whether what the rule is about changed.
func (r rule) changed(f File) bool {
	if r.keys == nil || f.Content == nil || f.Mode == modeLink {
		return true
	}
	// A struct would not do: encoding/json does not tell the cases of its names apart.
	var now, before map[string]any
	if json.Unmarshal(f.Content, &now) != nil {
		return true // a laxer program may read it
	}
	_ = json.Unmarshal(f.Old, &before)
	for _, key := range r.keys {
		if !reflect.DeepEqual(now[key], before[key]) {
			return true
		}
	}
	return false
}

// leaves returns why a link may lead out of the tree.
func leaves(name, target string) string {
	switch to := path.Join(path.Dir(name), target); {
	case path.IsAbs(target), to == "..", strings.HasPrefix(to, "../"):
		return "the symbolic link leads out of the tree"
	case within(to, ".git"):
		return "the symbolic link leads into the repository"
	}
	// A component before may be a link itself, and then lead anywhere.
	if named := strings.TrimLeft(target, "./"); within(named, "..") {
		return "the symbolic link may lead out of the tree, over another one"
	}
	return ""
}

// within reports whether a component of a path has a name.
func within(name, component string) bool {
	for c := range strings.SplitSeq(name, "/") {
		if strings.EqualFold(c, component) {
			return true
		}
	}
	return false
}

func ofContent(f File) []string {
	var all []string
	switch script := bytes.HasPrefix(f.Content, []byte("#!")); {
	case f.OldMode == modeExec && f.Mode == modeExec:
	case f.Mode == modeExec:
		all = append(all, "it can be executed now")
	case script && !bytes.HasPrefix(f.Old, []byte("#!")):
		all = append(all, "it is a script now")
	}
	if isText(f.Content) && invisible(f.Old) == "" {
		if what := invisible(f.Content); what != "" {
			all = append(all, "its text has "+what)
		}
	}
	return all
}

// isText is git's own guess (buffer_is_binary in xdiff-interface.c).
func isText(content []byte) bool {
	return bytes.IndexByte(content[:min(len(content), 8000)], 0) < 0
}

// invisible returns what of a text a reader does not see as it is.
func invisible(text []byte) string {
	if bytes.IndexByte(text, 0xe2) < 0 { // with which each of them begins in UTF-8
		return ""
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		// The characters of Unicode's bidirectional algorithm, UAX 9, with which text is shown
		// in another order than compilers read it (CVE-2021-42574).
		if r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return "control characters that change the order in which it is shown"
		}
		text = text[size:]
	}
	return ""
}
