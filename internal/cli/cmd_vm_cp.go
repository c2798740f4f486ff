package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"

	"banger/api"
	"banger/client"

	"github.com/spf13/cobra"
)

func newVMCp(a *app) *cobra.Command {
	t := transfer{std: a.std}
	cmd := &cobra.Command{
		Use:   "cp SOURCE TARGET",
		Short: "Copy files to or from a running VM",
		Long: `Copy a file or a directory to or from a running VM. One of the two arguments is
NAME:PATH, a path in a VM; the other is a path on this host, or -, a tar stream on
standard input or output. If TARGET is a directory, the copy gets the source's
name in it; otherwise TARGET is the copy's name. SOURCE/. means the contents of a
directory.

Modes, times, links, holes of sparse files and user extended attributes are
preserved. Files belong to root in the guest, and to you on the host; --archive
preserves owners if the receiver may set them, and with them set-user-id bits,
capabilities and access lists. A tar stream preserves what tar does.

A file gets its name when it is complete. If a copy is interrupted, start it again:
existing data is compared, not sent again, and a large file, whose first part
remains beside it as .banger-*.part, continues where it stopped.`,
		Example: `  banger vm cp notes.txt dev:/root/
  banger vm cp dev:/var/log ./guest-log
  banger vm cp -a ./home/. dev:/home
  tar c src | banger vm cp - dev:/work
  banger vm cp dev:/etc - | tar t`,
		Args:              arguments(2, 2, "a source and a target"),
		ValidArgsFunction: completeCopy,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to := parseEnd(args[0]), parseEnd(args[1])
			switch {
			case from.vm != "" && to.vm != "":
				for _, arg := range args {
					if isHere(arg) {
						return usagef(cmd, "%s means a path in a VM: write ./%s for the file on this host", arg, arg)
					}
				}
				return usagef(cmd, "cannot copy from one VM to another: copy out and in, or pipe: banger vm cp %s - | banger vm cp - %s", args[0], args[1])
			case from.vm == "" && to.vm == "":
				return usagef(cmd, "one of the two must be a path in a VM, such as dev:/root")
			case from.path == "" || to.path == "":
				return usagef(cmd, "cannot use an empty path: write one such as dev:/root")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			t.g = c.Guest(from.vm + to.vm)
			err = t.run(cmd.Context(), from, to)
			if arg := args[0]; api.KindOf(err) == api.KindNotFound && from.vm != "" && isHere(arg) {
				return api.AsError(err).WithHint("./%s   means the file on this host", arg)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&t.archive, "archive", "a", false, "preserve owners, set-user-id bits, capabilities and access lists")
	return cmd
}

// transfer is one `vm cp`: a copy between a guest and this host.
type transfer struct {
	std     *streams
	g       *client.Guest
	archive bool
}

func (t *transfer) run(ctx context.Context, from, to end) error {
	switch {
	case t.archive && (from.path == "-" && from.vm == "" || to.path == "-" && to.vm == ""):
		return api.Errorf(api.KindInvalid, "cannot use --archive with a tar stream: it preserves owners anyway")
	case from.path == "-" && from.vm == "":
		return t.g.Put(ctx, to.path, t.std.in, t.std.err)
	case to.path == "-" && to.vm == "":
		if _, tty := terminal(t.std.out); tty {
			return api.Errorf(api.KindInvalid, "cannot write a tar stream to a terminal").
				WithHint("banger vm cp %s:%s - | tar t", from.vm, from.path)
		}
		return t.getTar(ctx, from.path)
	}
	p := t.std.newProgress()
	defer p.done()
	o := client.CopyOptions{Archive: t.archive, Warnings: lineWriter{p}}
	if p.live {
		o.Report = p.report
	}
	if to.vm != "" {
		return t.g.CopyIn(ctx, from.path, to.path, o)
	}
	return t.g.CopyOut(ctx, from.path, to.path, o)
}

// lineWriter writes lines above the live line of a progress.
type lineWriter struct{ p *progress }

// Write writes whole lines.
func (w lineWriter) Write(text []byte) (int, error) {
	w.p.std.mu.Lock()
	defer w.p.std.mu.Unlock()
	w.p.clear()
	return w.p.std.err.Write(text)
}

func (t *transfer) getTar(ctx context.Context, path string) error {
	stream, err := t.g.Get(ctx, path, t.std.err)
	if err != nil {
		return err
	}
	_, err = io.Copy(t.std.out, stream)
	return errors.Join(err, stream.Close())
}

// end is the source or the target of a copy.
type end struct{ vm, path string }

// inVM matches NAME:PATH. A host path of that form is written ./NAME:PATH.
var inVM = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]*):`)

// isHere reports whether a file of this host has exactly that name.
func isHere(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func parseEnd(text string) end {
	m := inVM.FindStringSubmatch(text)
	if m == nil {
		return end{path: text}
	}
	return end{vm: m[1], path: strings.TrimPrefix(text, m[0])}
}

// completeCopy completes paths of this host, and names of VMs with a colon.
func completeCopy(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) >= 2 || strings.ContainsAny(typed, "/:") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var ends []string
	for _, name := range vmNames() {
		if strings.HasPrefix(name, typed) {
			ends = append(ends, name+":")
		}
	}
	if len(ends) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return ends, cobra.ShellCompDirectiveNoSpace
}
