package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/guest/filecopy"
	"banger/internal/workspace"
	"banger/internal/workspace/live"
	"banger/internal/workspace/review"
	"banger/internal/workspace/treesync"

	"github.com/spf13/cobra"
)

func newSync(a *app) *cobra.Command {
	var watch, all bool
	var keep string
	cmd := &cobra.Command{
		Use:   "sync [PATH]",
		Short: "Make a workspace's files and those in its VM the same",
		Long: `Bring what has changed here into the workspace's VM, and what has changed there into
your files. --watch goes on with that, each time something changes, until Ctrl-C;
"banger up --sync" does the same while its shell is open.

A file that has changed on both sides is a conflict: both stay as they are, and the
conflict is named, until they are the same again, or --keep decides. What git ignores is
not synced. Before a file is replaced or removed, its former content is in a commit
below refs/banger ("banger work log").`,
		Example: "  banger sync\n  banger sync --watch\n  banger sync --keep host",
		Args:    arguments(0, 1, "at most one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keep != "" && keep != treesync.KeepHost && keep != treesync.KeepGuest {
				return usagef(cmd, "%.40q is not a valid side: --keep takes host or guest", keep)
			}
			if keep != "" && watch {
				return usagef(cmd, "--keep is for one time: use it without --watch")
			}
			s, err := a.openSync(cmd.Context(), pathOf(args), all)
			if err != nil {
				return err
			}
			s.lines = true
			if watch {
				return s.watch(cmd.Context())
			}
			return s.once(cmd.Context(), keep)
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until Ctrl-C, each time something changes")
	cmd.Flags().BoolVar(&all, "all", false, "sync what is not committed, too, into a VM that was sent with --commit")
	cmd.Flags().StringVar(&keep, "keep", "", "decide all conflicts for one side: `host` or guest")
	return cmd
}

// syncing makes a workspace and its VM the same.
type syncing struct {
	a  *app
	w  *workspace.Workspace
	c  *client.Client
	vm api.VM
	// dir is the directory in the guest.
	dir string
	// all is workspace.SyncRequest's.
	all bool
	// lines prints what is written; mute prints nothing at all.
	lines, mute bool
	// known are the conflicts that were printed, and said the warnings.
	known, said map[string]bool
	// marks are the remarks about files that were written here, until they are printed.
	marks []string
	// waits is the kind of the error that was printed last, until a pass succeeds.
	waits api.Kind
	// changes are those of the guest while both sides are watched, otherwise nil.
	changes *workspace.Changes
}

func (a *app) openSync(ctx context.Context, path string, all bool) (*syncing, error) {
	w, err := a.openWorkspace(ctx, path)
	if err != nil {
		return nil, err
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	vm, err := a.workVM(ctx, c, w)
	if err != nil {
		return nil, err
	}
	shipment, known, err := w.Shipment(vm.ID)
	if err == nil && (!known || !shipment.Done) {
		err = a.notSent(w, vm)
	}
	if err == nil && !all {
		err = shipment.CheckSync()
	}
	s := a.syncing(w, c, vm, shipment.Directory)
	s.all = all
	return s, err
}

func (a *app) syncing(w *workspace.Workspace, c *client.Client, vm api.VM, dir string) *syncing {
	return &syncing{a: a, w: w, c: c, vm: vm, dir: dir, known: map[string]bool{}, said: map[string]bool{}}
}

// pass makes both sides the same, and prints what was done.
func (s *syncing) pass(ctx context.Context, keep string) (workspace.SyncResult, error) {
	unlock, err := s.w.Lock(ctx, nil)
	if err != nil {
		return workspace.SyncResult{}, err
	}
	defer unlock()
	before, _, err := s.w.Shipment(s.vm.ID)
	if err != nil {
		return workspace.SyncResult{}, err
	}
	result, err := s.w.Sync(ctx, workspace.VMGuest{Guest: s.c.Guest(s.vm.ID)}, before, workspace.SyncRequest{Keep: keep, All: s.all, Changes: s.changes})
	if len(result.ToHost) > 0 {
		err = errors.Join(err, s.mark(context.WithoutCancel(ctx), before.Agreed(), result.ToHost))
	}
	s.print(result)
	return result, err
}

// mark notes which of the files that were written here deserve a look.
func (s *syncing) mark(ctx context.Context, before string, written []string) error {
	after, _, err := s.w.Shipment(s.vm.ID)
	if err != nil {
		return err
	}
	marks, err := review.Marks(ctx, s.w.Repo, before, after.Agreed())
	for _, m := range marks {
		if _, here := slices.BinarySearch(written, m.Path); here {
			s.marks = append(s.marks, fmt.Sprintf("look at %s: %s", filecopy.Quote(m.Path), m.Reason))
		}
	}
	return err
}

func (s *syncing) print(r workspace.SyncResult) {
	if s.mute {
		return
	}
	if s.lines {
		for _, path := range r.ToGuest {
			fmt.Fprintln(s.a.std.out, "to VM   "+printable(path))
		}
		for _, path := range r.ToHost {
			fmt.Fprintln(s.a.std.out, "to here "+printable(path))
		}
	}
	for _, w := range r.Warnings {
		if text := filecopy.Quote(w.Path) + ": " + w.Text; !s.said[text] {
			s.said[text] = true
			s.a.std.note("%s", text)
		}
	}
	for _, text := range s.marks {
		s.a.std.note("%s", text)
	}
	s.marks = nil
	now := map[string]bool{}
	for _, c := range r.Conflicts {
		now[c.Path] = true
		if !s.known[c.Path] {
			s.a.std.note("conflict: %s: %s", filecopy.Quote(c.Path), c.Reason)
		}
	}
	s.known = now
}

// once does all that is to be done now.
func (s *syncing) once(ctx context.Context, keep string) error {
	const most = 5 // passes, if files go on changing
	for range most {
		r, err := s.pass(ctx, keep)
		if err != nil {
			return err
		}
		if r.Again {
			continue
		}
		if n := len(r.Conflicts); n > 0 {
			return api.Errorf(api.KindConflict, "not all is the same: %s", plural(n, "conflict")).
				WithHint("make the files the same, or: banger sync --keep host, or --keep guest; the other versions stay below refs/banger (banger work log)")
		}
		return nil
	}
	return api.Errorf(api.KindConflict, "files went on changing while they were synced").WithHint("banger sync --watch")
}

// watch goes on until ctx ends.
func (s *syncing) watch(ctx context.Context) error {
	s.a.std.note("%s and %s in VM %s are kept the same until Ctrl-C", filecopy.Quote(s.w.Repo.Top()), filecopy.Quote(s.dir), s.vm.Name)
	s.loop(ctx)
	return nil
}

// rescan is how often all files are compared, since a change may go unnoticed: of a file that is
// mapped into memory, or below a directory that is not watched (inotify(7)).
const rescan = 30 * time.Second

// loop runs passes until ctx ends.
func (s *syncing) loop(ctx context.Context) {
	g := s.c.Guest(s.vm.ID)
	s.changes = &workspace.Changes{Whole: rescan}
	defer func() { s.changes = nil }()
	live.Loop{
		Pass: func(ctx context.Context) (bool, error) {
			r, err := s.pass(ctx, "")
			if err == nil && s.waits != "" && !s.mute {
				s.a.std.note("syncing again")
			}
			if err == nil {
				s.waits = ""
			}
			return r.Again, err
		},
		Sides:  []live.Side{s.w.HostSide(), s.w.GuestSide(g, s.dir, s.changes)},
		Failed: s.fail,
		Rescan: rescan,
	}.Run(ctx)
}

// fail prints why it does not go on for now, once for each kind of reason.
func (s *syncing) fail(err error) {
	if kind := api.KindOf(err); kind != s.waits && !s.mute {
		s.waits = kind
		s.a.std.note("not syncing for now: %s", err)
	}
}

// during keeps both sides the same while something runs, and says at its end what is not.
func (s *syncing) during(ctx context.Context, run func() error) error {
	if _, err := s.pass(ctx, ""); err != nil {
		return err
	}
	s.mute = true
	looping, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.loop(looping)
	}()
	err := run()
	stop()
	<-ended
	s.mute, s.known = false, map[string]bool{}
	// What was written last. A signal ends the command, and not this.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPass)
	defer cancel()
	if _, failed := s.pass(last, ""); failed != nil {
		s.a.std.note("the last changes may not be on both sides: %s; banger sync tries again", failed)
	}
	return err
}

// lastPass bounds the pass after a command. It is a choice.
const lastPass = 30 * time.Second
