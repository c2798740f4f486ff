package systemd

import (
	"maps"
	"os"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
)

// Unit is a transient service. The fields are settings of systemd.service(5),
// systemd.exec(5), systemd.kill(5) and systemd.resource-control(5); a zero value leaves
// systemd's default. It never dumps core, reads nothing from standard input, and is
// removed when it has ended, whether it failed or not.
type Unit struct {
	Name        string // with ".service"
	Description string
	Slice       string

	Exec           []string // the first is an absolute path
	Environment    []string // NAME=value
	Stdout, Stderr *os.File // nil: the journal
	Credential     *Credential

	MemoryMax uint64        // bytes
	NoSwap    bool          // MemorySwapMax=0
	CPUWeight uint64        // 1 to 10000
	CPUQuota  time.Duration // of processor time per second
	IOWeight  uint64        // 1 to 10000
	TasksMax  uint64

	Sandbox

	// Restart and RestartDelay make systemd start the program again.
	Restart        string
	RestartDelay   time.Duration
	KillMode       string
	TimeoutStop    time.Duration
	OOMPolicy      string
	OOMScoreAdjust int
	LimitNOFILE    uint64
}

// Credential is the user that a service runs as. An account must have the number:
// systemd looks it up, and refuses one without a name with status 217 (measured with
// systemd 252). A program that needs a uid from a reserved range has to change to it
// itself.
type Credential struct {
	UID, GID uint32
	Groups   []string // supplementary ones, as numbers
}

// Device is a device that a service may use, and how: letters of "rwm".
type Device struct{ Path, Access string }

// property is an element of StartTransientUnit's a(sv).
type property struct {
	Name  string
	Value dbus.Variant
}

// command is an element of ExecStart's a(sasb). Unclean exits are failures.
type command struct {
	Path          string
	Args          []string
	IgnoreFailure bool
}

// properties renders the unit. The files must stay open until the request was sent.
func (u Unit) properties() []property {
	var p list
	p.add("Description", u.Description)
	p.add("Type", "exec") // a program that cannot be executed makes the start fail
	p.add("CollectMode", "inactive-or-failed")
	p.add("ExecStart", []command{{Path: u.Exec[0], Args: u.Exec}})
	p.text("Slice", u.Slice)
	p.texts("Environment", u.Environment)
	p.add("StandardInput", "null")
	p.file("StandardOutputFileDescriptor", u.Stdout)
	p.file("StandardErrorFileDescriptor", u.Stderr)
	if u.Credential != nil {
		p.add("User", decimal(u.Credential.UID))
		p.add("Group", decimal(u.Credential.GID))
		p.texts("SupplementaryGroups", u.Credential.Groups)
	}
	u.limits(&p)
	u.Sandbox.add(&p)
	return p
}

func (u Unit) limits(p *list) {
	p.number("MemoryMax", u.MemoryMax)
	if u.NoSwap {
		p.add("MemorySwapMax", uint64(0))
	}
	p.number("CPUWeight", u.CPUWeight)
	p.number("IOWeight", u.IOWeight)
	p.number("CPUQuotaPerSecUSec", uint64(u.CPUQuota.Microseconds()))
	p.number("TasksMax", u.TasksMax)
	p.add("LimitCORE", uint64(0))
	p.add("LimitCORESoft", uint64(0))
	p.number("LimitNOFILE", u.LimitNOFILE)
	p.number("LimitNOFILESoft", u.LimitNOFILE)
	p.text("Restart", u.Restart)
	p.number("RestartUSec", uint64(u.RestartDelay.Microseconds()))
	p.text("KillMode", u.KillMode)
	p.number("TimeoutStopUSec", uint64(u.TimeoutStop.Microseconds()))
	p.text("OOMPolicy", u.OOMPolicy)
	if u.OOMScoreAdjust != 0 {
		p.add("OOMScoreAdjust", int32(u.OOMScoreAdjust))
	}
}

// list collects properties and leaves out unset ones.
type list []property

func (l *list) add(name string, value any) {
	*l = append(*l, property{name, dbus.MakeVariant(value)})
}

func (l *list) text(name, value string) {
	if value != "" {
		l.add(name, value)
	}
}

func (l *list) texts(name string, value []string) {
	if len(value) > 0 {
		l.add(name, value)
	}
}

// flags adds the settings that are set.
func (l *list) flags(set map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] {
			l.add(name, true)
		}
	}
}

func (l *list) number(name string, value uint64) {
	if value != 0 {
		l.add(name, value)
	}
}

func (l *list) file(name string, f *os.File) {
	if f != nil {
		l.add(name, dbus.UnixFD(f.Fd()))
	}
}
