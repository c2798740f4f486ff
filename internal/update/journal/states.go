package journal

import "slices"

// State is the current step of an update. It is written before the step starts, so that
// the step can be repeated after a crash.
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

// Row is a state with what is done in it and which states may follow.
type Row struct {
	State State
	Does  string
	Next  []State
}

// Table is all that an update may do; docs/update-threats.md shows it. If all goes well, a
// state leads to the first of its next states. A rollback that would lose VMs leads to
// Committing.
var Table = []Row{
	{Prepared, "nothing is changed yet; the new version is in its directory", []State{Holding, RollingBack}},
	{Holding, "new work is refused; the running guests are recorded", []State{Units, RollingBack}},
	{Units, "unit files and udev's rules are written if they differ, and systemd reads them", []State{Stopping, RollingBack}},
	{Stopping, "the daemon is stopped; before that, if the store stays as it is, the link is switched and the root helper restarted", []State{BackingUp, RollingBack}},
	{BackingUp, "the store is copied, if the new version changes its schema", []State{Switching, RollingBack}},
	{Switching, "the link `current` is pointed at the new version", []State{Starting, RollingBack}},
	{Starting, "the root helper is restarted, if it was not, then the daemon is started", []State{Probing, RollingBack}},
	{Probing, "the new version has to prove itself", []State{Committing, RollingBack}},
	{Committing, "the install record is written, commands that the new version adds are linked, older versions are removed", []State{Done}},
	{Done, "the update has ended", nil},
	{RollingBack, "link, units and store are restored, and both daemons are started again", []State{RolledBack, Committing}},
	{RolledBack, "the update has ended, and everything is as before it", nil},
}

func row(s State) (Row, bool) {
	i := slices.IndexFunc(Table, func(r Row) bool { return r.State == s })
	if i < 0 {
		return Row{}, false
	}
	return Table[i], true
}

// Valid reports whether s is a state of the table.
func (s State) Valid() bool { _, ok := row(s); return ok }

// MayMove reports whether the table allows to move from s to another state.
func (s State) MayMove(to State) bool {
	r, _ := row(s)
	return slices.Contains(r.Next, to)
}

// Ended reports whether nothing is left to do.
func (s State) Ended() bool { return s == Done || s == RolledBack }

// Reached reports whether an update in state s has started the work of other, which is
// a state on the way to Done.
func (s State) Reached(other State) bool { return position(s) >= position(other) }

func position(s State) int {
	return slices.IndexFunc(Table, func(r Row) bool { return r.State == s })
}
