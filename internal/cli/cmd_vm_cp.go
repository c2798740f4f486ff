package cli

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"

	"banger/api"
	"banger/internal/guest"

	"github.com/spf13/cobra"
)

func newVMCp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cp SOURCE TARGET",
		Short: "Copy files into a running VM or out of it",
		Long: `Copy a file or a directory into a running VM or out of it. One of the two is
NAME:PATH, a path in a VM; the other is a path here, or -, a tar stream on
standard input or output. A target that is a directory gets a copy of the same
name in it; any other target is the copy's new name. SOURCE/. means what is in a
directory.`,
		Example: `  banger vm cp notes.txt dev:/root/
  banger vm cp dev:/var/log ./guest-log
  tar c src | banger vm cp - dev:/work
  banger vm cp dev:/etc - | tar t`,
		Args:              arguments(2, 2, "a source and a target"),
		ValidArgsFunction: a.completeCopy,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to := parseEnd(args[0]), parseEnd(args[1])
			switch {
			case from.vm != "" && to.vm != "":
				return usagef(cmd, "cannot copy from one VM to another: copy out and in, or pipe: banger vm cp %s - | banger vm cp - %s", args[0], args[1])
			case from.vm == "" && to.vm == "":
				return usagef(cmd, "one of the two must be in a VM, such as dev:/root")
			case from.path == "" || to.path == "":
				return usagef(cmd, "a path is empty: write one such as dev:/root")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.cp(cmd.Context(), c.Guest(from.vm+to.vm), from, to)
		},
	}
}

// cp copies between a guest and this host.
func (a *app) cp(ctx context.Context, g *guest.Client, from, to end) error {
	switch {
	case from.path == "-" && from.vm == "":
		return g.Put(ctx, to.path, a.in, a.err)
	case to.path == "-" && to.vm == "":
		if _, tty := terminal(a.out); tty {
			return api.Errorf(api.KindInvalid, "cannot write a tar stream to a terminal").
				WithHint("banger vm cp %s:%s - | tar t", from.vm, from.path)
		}
		return a.getTar(ctx, g, from.path)
	case to.vm != "":
		return g.CopyIn(ctx, from.path, to.path, a.err)
	}
	return g.CopyOut(ctx, from.path, to.path, a.err)
}

func (a *app) getTar(ctx context.Context, g *guest.Client, path string) error {
	stream, err := g.Get(ctx, path, a.err)
	if err != nil {
		return err
	}
	_, err = io.Copy(a.out, stream)
	return errors.Join(err, stream.Close())
}

// end is one of the two ends of a copy.
type end struct{ vm, path string }

// inVM is NAME:PATH. A path here that looks like it is written ./NAME:PATH.
var inVM = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]*):`)

func parseEnd(text string) end {
	m := inVM.FindStringSubmatch(text)
	if m == nil {
		return end{path: text}
	}
	return end{vm: m[1], path: strings.TrimPrefix(text, m[0])}
}

// completeCopy completes paths here, and names of VMs with a colon.
func (a *app) completeCopy(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) >= 2 || strings.ContainsAny(typed, "/:") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var ends []string
	for _, name := range a.vmNames() {
		if strings.HasPrefix(name, typed) {
			ends = append(ends, name+":")
		}
	}
	if len(ends) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return ends, cobra.ShellCompDirectiveNoSpace
}
