package cli

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"banger/api"
	"banger/client"
	"banger/internal/faultpoint"
	"banger/internal/guest/filecopy"
	"banger/internal/size"
	"banger/internal/workspace"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/project"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// freeName makes the name of a VM, a DNS label, from that of a directory.
func freeName(base string, all []api.VM) string {
	name := labelOf(base)
	free := name
	for n := 2; slices.ContainsFunc(all, func(vm api.VM) bool { return vm.Name == free }); n++ {
		free = name + "-" + strconv.Itoa(n)
	}
	return free
}

// labelOf makes a DNS label from the name of a directory.
func labelOf(base string) string {
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
	return cmp.Or(name, "workspace")
}

// always are the flags that count each time; all others are for a new VM.
var always = []string{"detach", "sync", "new", "allow", "setup", "write", "dry-run", "from", "quiet", "force", "env", "workdir", "user", "tty"}

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
	noCache bool
}

func (s *shipFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.commit, "commit", false, "send what HEAD has, and no changes")
	f.StringArrayVar(&s.ignored, "include-ignored", nil, "send also ignored files that match `PATTERN`, as in .gitignore; may be repeated")
	f.StringVar(&s.branch, "branch", "", "the guest works on the new branch `NAME`, at HEAD")
	f.StringVar(&s.history, "history", "", "full: all commits that HEAD has; none: HEAD's alone")
	f.BoolVar(&s.noCache, "no-cache", false, "run the setup even if its result was kept, and do not keep it")
	f.IntVar(&s.depth, "depth", 0, "commits of history that the guest gets (default: 50)")
}

// shipFlagsGiven returns a flag that was given, and is only for what is sent.
func shipFlagsGiven(cmd *cobra.Command) string {
	for _, name := range []string{"commit", "include-ignored", "branch", "history", "depth", "allow", "no-cache"} {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

func (s *shipFlags) include(sync project.Sync) { s.ignored = append(s.ignored, sync.Include...) }

func (s *shipFlags) selection() gitrepo.Select {
	return gitrepo.Select{Commit: s.commit, IncludeIgnored: s.ignored}
}

func (s *shipFlags) git() gitrepo.GitOptions {
	return gitrepo.GitOptions{Depth: s.depth, History: s.history, Branch: s.branch}
}

// command is what the user has typed, to type it again.
func (u *up) command() string {
	if u.single {
		return u.a.from.typed(u.w, "banger vm run")
	}
	return u.a.from.typed(u.w, "banger up")
}

// fill makes sure that a VM that runs has the files, and is set up.
func (u *up) fill(ctx context.Context, c *client.Client, vm api.VM) error {
	shipment, known, err := u.w.Shipment(vm.ID)
	if err != nil {
		return err
	}
	if !known || !shipment.Done {
		shipment, err = u.send(ctx, c, vm)
	} else {
		err = u.compare(ctx, vm, shipment)
	}
	if err != nil {
		return err
	}
	faultpoint.Reach("up", "sent")
	u.dir = shipment.Directory
	if err := u.runSetup(ctx, c, vm, shipment); err != nil {
		return err
	}
	return u.runOnStart(ctx, c.Guest(vm.ID))
}

// send sends the files.
func (u *up) send(ctx context.Context, c *client.Client, vm api.VM) (workspace.Shipment, error) {
	p, g := u.a.std.newProgress(), c.Guest(vm.ID)
	cargo := workspace.Cargo{
		VM: vm, Directory: u.dir, User: u.owner(vm), Select: u.ship.selection(), Git: u.ship.git(), Report: u.report(p),
		Placed: func(ctx context.Context) error { return u.placed(ctx, c, vm, nil) },
		Note:   func(path, what string) { u.a.std.note("%s: %s", filecopy.Quote(path), what) },
	}
	over, err := u.cache.over(vm)
	var sent workspace.Sent
	switch {
	case err != nil:
	case over == nil:
		sent, err = u.w.Ship(ctx, g, cargo)
	default:
		cargo.Placed = func(ctx context.Context) error { return u.placed(ctx, c, vm, over.Setup.Features) }
		sent, err = u.w.ShipOver(ctx, workspace.VMGuest{Guest: g}, cargo, *over)
	}
	p.done()
	if err != nil {
		return workspace.Shipment{}, err
	}
	kind := "file"
	if over != nil {
		kind = "changed file"
	}
	u.a.std.note("sent %s, %s, to %s in VM %s", plural(sent.Files, kind), size.Format(sent.Bytes), filecopy.Quote(u.dir), vm.Name)
	shipment, _, err := u.w.Shipment(vm.ID)
	return shipment, err
}
