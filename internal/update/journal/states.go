package journal

import "slices"

// State is what an update is doing. It is written before that is done, so that
// whoever reads it after a crash does it again: every step can be repeated.
type State string

// The states of an update, in order; the last four end it.
const (
	Prepared    State = "prepared"
	Holding     State = "holding"
	Units       State = "units"
	Stopping    State = "stopping"
	BackingUp   State = "backing-up"
	Switching   State = "switching"
	Starting    State = "starting"
	Probing     State = "probing"
	Committing  State = "committing"
	Done        State = "done"
	RollingBack State = "rolling-back"
	RolledBack  State = "rolled-back"
)

// Row is a state with what is done in it and where it may lead.
type Row struct {
	State State
	Does  string
	Next  []State
}

// Table is the whole of what an update may do; docs/update-threats.md shows it. Where all is well
// a state leads to the first of the next ones. A way back leads on where it would lose VMs.
var Table = []Row{
	{Prepared, "nothing is changed yet; the new version is in its directory", []State{Holding, RollingBack}},
	{Holding, "new work is refused; what guests there are is written down", []State{Units, RollingBack}},
	{Units, "unit files and udev's rules are written where they differ, and systemd reads them", []State{Stopping, RollingBack}},
	{Stopping, "the daemon is stopped; before that, where the store stays as it is, the link is switched and the root helper restarted", []State{BackingUp, RollingBack}},
	{BackingUp, "the store is copied, if the new version changes its schema", []State{Switching, RollingBack}},
	{Switching, "the link `current` is pointed at the new version", []State{Starting, RollingBack}},
	{Starting, "the root helper is restarted, if it was not, then the daemon is started", []State{Probing, RollingBack}},
	{Probing, "the new version has to prove itself", []State{Committing, RollingBack}},
	{Committing, "the install record is written, older versions are removed", []State{Done}},
	{Done, "the update is over", nil},
	{RollingBack, "link, units and store become what they were, and both daemons are started again", []State{RolledBack, Committing}},
	{RolledBack, "the update is over, and everything is as before it", nil},
}

func row(s State) (Row, bool) {
	i := slices.IndexFunc(Table, func(r Row) bool { return r.State == s })
	if i < 0 {
		return Row{}, false
	}
	return Table[i], true
}

// Valid tells whether there is such a state.
func (s State) Valid() bool { _, ok := row(s); return ok }

// MayMove tells whether the table leads from one state to another.
func (s State) MayMove(to State) bool {
	r, _ := row(s)
	return slices.Contains(r.Next, to)
}

// Ended tells whether nothing is left to do.
func (s State) Ended() bool { return s == Done || s == RolledBack }

// Reached tells whether an update that got to s has begun what is done in other,
// which is a state on the way to Done.
func (s State) Reached(other State) bool { return position(s) >= position(other) }

func position(s State) int {
	return slices.IndexFunc(Table, func(r Row) bool { return r.State == s })
}
