package main

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.*)$`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// TestLinks: each link of our pages to a file or a heading in the repository leads to one.
func TestLinks(t *testing.T) {
	const top = "../.."
	pages := pagesBelow(t, top)
	if len(pages) < 50 {
		t.Fatalf("%d pages", len(pages))
	}
	for _, page := range pages {
		path := filepath.Join(top, page)
		for _, m := range link.FindAllStringSubmatch(text(t, path), -1) {
			u, err := url.Parse(m[1])
			if err != nil || u.Scheme != "" {
				continue // another site: not asked by a test
			}
			target := path
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(path), u.Path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if u.Fragment != "" && !anchors(text(t, target))[u.Fragment] {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
}

// named matches a path of the repository in a text. A path with a word in capitals is a form,
// such as cmd_NOUN.go.
var named = regexp.MustCompile("`((?:api|client|cmd|docs|internal|scripts|test|tools)/[a-z0-9_./*-]+)`")

// TestPaths: each file and directory of ours that a page of today names is there. Decisions,
// measurements and changes tell of their own day.
func TestPaths(t *testing.T) {
	const top = "../.."
	seen := 0
	for _, page := range pagesBelow(t, top) {
		dir := filepath.ToSlash(filepath.Dir(page))
		if page == "CHANGELOG.md" || dir == "docs/adr" || dir == "docs/bench" {
			continue
		}
		for _, m := range named.FindAllStringSubmatch(text(t, filepath.Join(top, page)), -1) {
			seen++
			if found, err := filepath.Glob(filepath.Join(top, m[1])); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d paths were looked at", seen)
	}
}

// pagesBelow are the Markdown files below dir, but for what is built or fetched there.
func pagesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var pages []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".cache", "bin", "dist", "keys", "repository"}, name):
			return filepath.SkipDir
		case !d.IsDir() && filepath.Ext(name) == ".md":
			pages = append(pages, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// text is a page without its blocks of code.
func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fence.ReplaceAllString(string(data), "")
}

// anchors are the names by which headings are linked to: lower case, without punctuation,
// with hyphens for spaces, as GitHub and others derive them.
func anchors(page string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		name := dropped.ReplaceAllString(strings.ToLower(m[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}
