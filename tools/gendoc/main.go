// Command gendoc writes the reference of banger's commands into docs/cli
// (Markdown) and docs/man (man pages), that of its settings into
// docs/configuration.md, and that of banger.toml into docs/workspace-keys.md and
// docs/banger.toml.schema.json. Run it at the top of the repository:
//
//	go run ./tools/gendoc
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"banger/internal/cli"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func main() {
	if err := generate("docs"); err != nil {
		fmt.Fprintln(os.Stderr, "gendoc: cannot write the reference:", err)
		os.Exit(1)
	}
}

// generate writes the reference below dir, and removes all other pages there: a removed
// command leaves no page.
func generate(dir string) error {
	settings, err := configuration()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "configuration.md"), settings, 0o644); err != nil {
		return err
	}
	if err := workspace(dir); err != nil {
		return err
	}
	root := cli.Root()
	plain(root)
	markdown, man := filepath.Join(dir, "cli"), filepath.Join(dir, "man")
	for _, d := range []string{markdown, man} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := doc.GenMarkdownTree(root, markdown); err != nil {
		return err
	}
	date := time.Unix(0, 0)
	header := doc.GenManHeader{Section: "1", Source: "banger", Manual: "banger", Date: &date}
	if err := doc.GenManTree(root, &header, man); err != nil {
		return err
	}
	return undated(man)
}

// plain omits the date of generation from the pages: the same commands give the same
// bytes.
func plain(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	for _, sub := range cmd.Commands() {
		plain(sub)
	}
}

var title = regexp.MustCompile(`(?m)^(\.TH "[^"]*" "1") "[^"]*"`)

// undated removes the date from the title line, which man(7) allows to be empty.
func undated(dir string) error {
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		text = append(bytes.TrimSpace(title.ReplaceAll(text, []byte(`$1 ""`))), '\n')
		if err := os.WriteFile(page, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
