package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"banger/api"
	"banger/internal/buildinfo"
	"banger/internal/commands"
	"banger/internal/faultpoint"
	"banger/internal/update"
	"banger/internal/update/journal"
	"banger/internal/update/repo"

	"github.com/spf13/cobra"
)

// exitAvailable is the exit status of `banger update --check` if there is another
// version.
const exitAvailable = 10

// settleTime is how long a new version has to stay up before the update succeeds:
// a daemon that crashes at its start is started again after a tenth of a second.
const settleTime = 10 * time.Second

// updateFlags are the flags of `banger update`.
type updateFlags struct {
	check, dryRun, force, back bool
	unproven                   bool // the owner's daemon is not checked
	to, repository, root       string
	settle                     time.Duration
}

func newUpdate(a *app) *cobra.Command {
	u := updating{std: a.std}
	f := &u.f
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Update banger; VMs keep running",
		Long: `Update banger to the latest release, or to another one, while VMs keep running.
The release's signatures are checked, its programs are tested, and then both
daemons are restarted with it. The new version is checked: both daemons must
answer, every VM must still run, commands must work in it, and the doctor must not
find new problems. Otherwise the update is rolled back automatically.

A separate process carries out the update. Ctrl-C does not stop it, and an update
that is interrupted, even by a loss of power, is completed or rolled back.

With --check, only report whether there is another version: the exit status is then 10.`,
		Example: `  sudo banger update                 # of this machine's installation
  banger update                      # of your own
  banger update --check
  banger update --dry-run            # what would be changed
  banger update --rollback           # back to the previous version`,
		Args: noArgs,
		RunE: u.run,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.check, "check", false, "report whether there is another version, and change nothing")
	flags.BoolVar(&f.dryRun, "dry-run", false, "test the new version, print what would be changed, and change nothing")
	flags.StringVar(&f.to, "to", "", "the `VERSION` to update to (default: the latest)")
	flags.BoolVar(&f.force, "force", false, "update even while VMs have operations in progress, which the new version resumes; with --rollback: discard changes since the backup")
	flags.BoolVar(&f.back, "rollback", false, "go back to the version before the latest update")
	flags.BoolVar(&f.unproven, "unproven-daemon", false, "system installation only: continue although the checks of the owner's daemon fail; those of the root helper must still pass")
	flags.StringVar(&f.repository, "repository", "", "the `URL` of the releases (default: built in)")
	flags.StringVar(&f.root, "root", "", "a `FILE` with the repository's root.json to trust (default: built in)")
	flags.DurationVar(&f.settle, "settle", settleTime, "how long the new version has to stay up")
	_ = flags.MarkHidden("settle") // for tests
	return cmd
}

// updating is one `banger update`.
type updating struct {
	std *streams
	f   updateFlags
	in  installation
}

func (u *updating) run(cmd *cobra.Command, _ []string) (err error) {
	ctx, f := cmd.Context(), u.f
	if f.back && (f.to != "" || f.check) || f.check && f.dryRun {
		return usagef(cmd, "these flags cannot be used together")
	}
	if u.in, err = findInstallation(u.std.step); err != nil {
		return err
	}
	if err := f.fits(u.in.machine); err != nil {
		return err
	}
	if _, err := os.Lstat(u.in.machine.Journal()); err == nil {
		return u.resume(ctx)
	}
	var plan update.Plan
	if f.back {
		plan, err = u.in.machine.BeginRollback(ctx, u.in.from, f.options(nil))
	} else {
		plan, err = u.begin(ctx)
	}
	switch {
	case err != nil:
		return err
	case f.dryRun:
		return u.printPlan(plan)
	case !plan.Begun:
		return nil
	}
	return u.follow(ctx)
}

// fits refuses flags that have no meaning for an installation.
func (f updateFlags) fits(m update.Machine) error {
	if f.unproven && !m.System {
		return api.Errorf(api.KindInvalid, "cannot update with --unproven-daemon: your own installation has no other daemon").
			WithHint("banger update")
	}
	return nil
}

func (f updateFlags) options(progress api.Report) update.Options {
	return update.Options{To: f.to, Force: f.force, UnprovenDaemon: f.unproven, DryRun: f.dryRun, Settle: f.settle, Progress: progress}
}

// begin asks the repository for the target version and prepares the update.
func (u *updating) begin(ctx context.Context) (update.Plan, error) {
	in, f := u.in, u.f
	src, err := openRepository(in.machine.State, f)
	if err != nil {
		return update.Plan{}, err
	}
	target, available, err := update.Find(ctx, src, in.from, f.to, u.std.step)
	if err != nil {
		return update.Plan{}, err
	}
	if !available {
		_, err := fmt.Fprintf(u.std.out, "banger %s is up to date\n", in.from.Version)
		return update.Plan{}, err
	}
	if f.check {
		if _, err := fmt.Fprintf(u.std.out, "banger %s is available; %s is installed\n", target.Version, in.from.Version); err != nil {
			return update.Plan{}, err
		}
		return update.Plan{}, statusError(exitAvailable)
	}
	progress := u.std.newProgress()
	defer progress.done()
	return in.machine.Begin(ctx, src, target, in.from, f.options(func(p api.Progress) {
		if p.Done == p.Total { // the next steps have lines of their own
			progress.done()
			return
		}
		progress.report(p)
	}))
}

// openRepository opens the repository that this build trusts, or the one that the flags name.
func openRepository(state string, f updateFlags) (*repo.Repository, error) {
	root, url := buildinfo.Update()
	if f.root != "" {
		data, err := os.ReadFile(f.root)
		if err != nil {
			return nil, api.Errorf(api.KindInvalid, "cannot read the trusted root.json: %w", err)
		}
		root = data
	}
	if f.repository != "" {
		url = f.repository
	}
	if len(root) == 0 || url == "" {
		return nil, api.Errorf(api.KindUnsupported, "cannot update: this build trusts no release repository").
			WithHint("banger update --repository URL --root FILE")
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, api.AsError(err)
	}
	return repo.Open(repo.Options{Root: root, URL: url, Dir: state + "/repository", Platform: buildinfo.Get().Platform})
}

// printPlan prints what an update would change.
func (u *updating) printPlan(p update.Plan) error {
	if p.To.Version == "" {
		return nil // up to date, which was printed
	}
	store := fmt.Sprintf("schema %d, unchanged", p.Schema.Have)
	if p.Schema.Have < p.Schema.Known {
		store = fmt.Sprintf("schema %d becomes %d, after a backup", p.Schema.Have, p.Schema.Known)
	}
	files := "unchanged"
	if len(p.Files) > 0 {
		files = fmt.Sprintf("%d files change", len(p.Files))
	}
	if err := fields(u.std.out, "version", p.From.Version+" becomes "+p.To.Version, "store", store, "units", files,
		"commands", plannedCommands(p.Commands)); err != nil {
		return err
	}
	_, err := fmt.Fprint(u.std.out, printable(update.Diff(p.Files)))
	return err
}

// plannedCommands says which links an update would add, and which it cannot.
func plannedCommands(links []commands.Link) string {
	var said []string
	for _, l := range links {
		if l.State == commands.Missing {
			said = append(said, l.Name+" is added")
		} else {
			said = append(said, l.Name+" is not added: another file is there")
		}
	}
	return cmp.Or(strings.Join(said, "; "), "unchanged")
}

// launcher returns the launcher of the installation's updater.
func (u *updating) launcher(ctx context.Context) (update.Launcher, error) {
	m := u.in.machine
	if !m.System {
		return update.UserLauncher(m), nil
	}
	var env []string
	if v := u.std.env(faultpoint.Env); v != "" { // the lab's
		env = append(env, faultpoint.Env+"="+v)
	}
	return update.SystemLauncher(ctx, m, env)
}

// follow shows what the updater does, until the update has ended.
func (u *updating) follow(ctx context.Context) error {
	// The journal exists: whatever stops this process from here on does not stop the update.
	l, err := u.launcher(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	j, err := u.in.machine.Follow(ctx, l)
	if err != nil {
		return err
	}
	return u.conclude(j)
}

// conclude reports how the update ended.
func (u *updating) conclude(j journal.Journal) error {
	if !j.Made() {
		err := api.Errorf(api.KindInternal, "cannot update to %s: %s", j.To.Version, j.Reason).WithHint("%sless %s", u.in.sudo, u.in.machine.Log())
		return u.in.machine.HintUnproven(j, err)
	}
	_, err := fmt.Fprintf(u.std.out, "banger %s is installed; it was %s\n", j.To.Version, j.From.Version)
	return err
}

// resume continues an interrupted update, unless the flags request something else.
func (u *updating) resume(ctx context.Context) error {
	in, f := u.in, u.f
	busy, err := in.machine.Busy()
	if err != nil {
		return err
	}
	if busy != nil {
		return busy
	}
	if f.check || f.dryRun || f.back || f.to != "" {
		return api.Errorf(api.KindConflict, "cannot do that now: an update was interrupted").
			WithHint("%sbanger update   completes it, or rolls it back", in.sudo)
	}
	u.std.note("continuing an interrupted update")
	if f.unproven {
		if err := in.machine.AcceptDaemon(ctx); err != nil {
			return err
		}
	}
	return u.follow(ctx)
}
