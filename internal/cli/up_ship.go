package cli

import (
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/project"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// freeName makes the name of a VM, a DNS label, from that of a directory.
func freeName(base string, all []api.VM) string {
	const most = 40
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, base)
	name = strings.Trim(name[:min(len(name), most)], "-")
	if name == "" {
		name = "workspace"
	}
	free := name
	for n := 2; slices.ContainsFunc(all, func(vm api.VM) bool { return vm.Name == free }); n++ {
		free = name + "-" + strconv.Itoa(n)
	}
	return free
}

// always are the flags that count each time; all others are for a new VM.
var always = []string{"detach", "new", "allow", "setup", "write", "dry-run", "quiet", "force", "env", "workdir", "user", "tty"}

// onceFlags returns the flags that were given and that count for a new VM alone.
func onceFlags(cmd *cobra.Command) (given []string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains(always, f.Name) {
			given = append(given, "--"+f.Name)
		}
	})
	return given
}

// shipFlags say which files are sent.
type shipFlags struct {
	commit  bool
	ignored []string
	branch  string
	history string
	depth   int
}

func (s *shipFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.commit, "commit", false, "send what HEAD has, and no changes")
	f.StringArrayVar(&s.ignored, "include-ignored", nil, "send also ignored files that match `PATTERN`, as in .gitignore; may be repeated")
	f.StringVar(&s.branch, "branch", "", "the guest works on the new branch `NAME`, at HEAD")
	f.StringVar(&s.history, "history", "", "full: all commits that HEAD has; none: HEAD's alone")
	f.IntVar(&s.depth, "depth", 0, "commits of history that the guest gets (default: 50)")
}

func (s *shipFlags) include(sync project.Sync) { s.ignored = append(s.ignored, sync.Include...) }

func (s *shipFlags) selection() gitrepo.Select {
	return gitrepo.Select{Commit: s.commit, IncludeIgnored: s.ignored}
}

func (s *shipFlags) git() gitrepo.GitOptions {
	return gitrepo.GitOptions{Depth: s.depth, History: s.history, Branch: s.branch}
}
