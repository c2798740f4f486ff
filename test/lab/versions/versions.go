// Package versions says which versions of banger the scenarios of updates need: real
// programs, made from the repository's sources with a small edit each, and release
// repositories that offer them, sound and unsound ones. tools/lab/builds makes them.
package versions

import (
	"fmt"
	"slices"
)

// Edit replaces Old, which must occur once in a file, with New. Without Old the file is
// created, and must not exist.
type Edit struct{ Path, Old, New string }

// Version is a modified build.
type Version struct {
	Name      string
	Edits     []Edit
	Installed bool // scenarios install it directly: its programs are in the result
}

// Base is the version that scenarios update from, and Older an installation with units
// of an older banger.
const (
	Base  = "v1.0.0"
	Older = "v0.9.0"
)

// The versions to update to.
const (
	Good       = "v1.1.0"
	Migrating  = "v1.2.0"
	NoStart    = "v1.3.1" // its daemon exits at its start
	Loops      = "v1.3.2" // its daemon reports that it is ready and exits soon after
	NoGuests   = "v1.3.3" // its daemon does not find its guests
	NoMigrate  = "v1.3.4" // its migration fails
	BadUnits   = "v1.3.5" // its unit names a program that does not exist
	NoHelper   = "v1.3.6" // its helper exits at its start
	daemonUnit = "internal/system/units/bangerd.service"
	helperUnit = "internal/system/units/bangerd-root.service"
	daemonMain = "internal/daemon/daemon.go"

	// lastMigration sorts after all migrations of banger, which are applied in order.
	lastMigration = "internal/store/migrations/9999_lab.sql"
)

// URL is where the programs look for releases: a server in the lab.
const URL = "http://127.0.0.1:8099/"

// The repositories, by their names.
const (
	Offers  = "good"    // Base and Good
	Later   = "later"   // the versions after Good
	Aged    = "older"   // Offers as it was when Good was not out
	Expired = "expired" // its timestamp is out of date
	Altered = "altered" // a byte of its archive is another one
	Foreign = "foreign" // signed with other keys
)

// All are all versions.
var All = []Version{
	{Name: Older, Installed: true, Edits: []Edit{
		{daemonUnit, "\nKillMode=process\n", "\n"},
		{helperUnit, "\nKillMode=process\n", "\n"},
	}},
	{Name: Base, Installed: true},
	{Name: Good, Edits: []Edit{described(Good)}},
	{Name: Migrating, Edits: []Edit{
		described(Migrating),
		{Path: lastMigration, New: "CREATE TABLE lab (x INTEGER) STRICT;\n"},
	}},
	{Name: NoStart, Edits: []Edit{
		described(NoStart),
		{daemonMain, "\tready := takeReadiness()\n", "\tif *system {\n\t\treturn 3\n\t}\n\tready := takeReadiness()\n"},
	}},
	{Name: Loops, Edits: []Edit{
		{daemonMain, "\t\ttellSystemd(log, systemd.Ready)\n", "\t\ttellSystemd(log, systemd.Ready)\n\t\ttime.AfterFunc(2*time.Second, func() { os.Exit(3) })\n"},
	}},
	{Name: NoGuests, Edits: []Edit{{
		"internal/vm/reconcile/recover.go",
		"\t\tm, err = r.Machines.Recover(ctx, drv, v.ID)\n",
		"\t\tm, err = nil, api.Errorf(api.KindInternal, \"cannot find machine of %s %v\", v.ID, drv != nil)\n",
	}}},
	{Name: NoMigrate, Edits: []Edit{
		described(NoMigrate),
		{Path: lastMigration, New: "CREATE TABLE lab (x INTEGER) STRICT;\nUPDATE nowhere SET x = 1;\n"},
	}},
	{Name: BadUnits, Edits: []Edit{{daemonUnit, "/current/bangerd --system\n", "/current/nonesuch --system\n"}}},
	{Name: NoHelper, Edits: []Edit{{
		"cmd/bangerd-root/main.go", "\tinfo := buildinfo.Get()\n", "\tinfo := buildinfo.Get()\n\tif len(os.Args) == 1 {\n\t\tos.Exit(3)\n\t}\n",
	}}},
}

// described makes a version's units differ from those before.
func described(version string) Edit {
	return Edit{daemonUnit, "\nDescription=Daemon of banger for ", fmt.Sprintf("\nDescription=Daemon of banger %s for ", version)}
}

// Offered are the names of the versions that repositories offer and that scenarios
// update to.
func Offered() []string {
	var names []string
	for _, v := range All {
		if !slices.Contains([]string{Older, Base, Good}, v.Name) {
			names = append(names, v.Name)
		}
	}
	return names
}
