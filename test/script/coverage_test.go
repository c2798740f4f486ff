package script

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"banger/internal/cli"
)

// TestEveryCommandHasAScript wants each command and each flag in some script.
func TestEveryCommandHasAScript(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "#") {
				lines = append(lines, strings.ReplaceAll(line, "$BANGER ", "banger "))
			}
		}
	}
	walk(cli.Root(), func(c *cobra.Command) {
		uses := containing(lines, regexp.MustCompile(regexp.QuoteMeta(c.CommandPath())+`\b`))
		if len(uses) == 0 {
			t.Errorf("no script runs `%s`", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			for _, form := range forms(f) {
				if len(containing(uses, regexp.MustCompile(`\s`+form+`(\s|=|$)`))) == 0 {
					t.Errorf("no script runs `%s %s`", c.CommandPath(), form)
				}
			}
		})
	})
}

// forms are how a flag is written. Those of help are cobra's own.
func forms(f *pflag.Flag) []string {
	if f.Name == "help" {
		return nil
	}
	all := []string{"--" + f.Name}
	if f.Shorthand != "" {
		all = append(all, "-"+f.Shorthand)
	}
	return all
}

func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, child := range c.Commands() {
		walk(child, visit)
	}
}

func containing(lines []string, pattern *regexp.Regexp) []string {
	var found []string
	for _, line := range lines {
		if pattern.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}
