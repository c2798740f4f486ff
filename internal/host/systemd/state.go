package systemd

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
)

// answerTime bounds the requests after a failure.
const answerTime = 5 * time.Second

// State is the state of a service.
type State struct {
	Active  string    // active, activating, inactive, failed …
	Sub     string    // running, exited, dead …
	Load    string    // loaded, not-found …
	Enabled string    // enabled, disabled, … or empty without a unit file
	MainPID int       // 0: none
	Since   time.Time // when it entered Active; zero: never
	// Result says why the service is not running: success, exit-code, signal,
	// core-dump, oom-kill, timeout, start-limit-hit, resources …
	Result string

	exitCode   int32 // CLD_…, waitid(2)
	exitStatus int32
}

// State returns the state of a service. One that does not exist is inactive.
func (b *Bus) State(ctx context.Context, unit string) (State, error) {
	var s State
	err := b.with(ctx, func(l *link) error {
		var err error
		s, err = l.state(ctx, unit)
		return err
	})
	return s, explain("read the state of", unit, err)
}

func (l *link) state(ctx context.Context, unit string) (State, error) {
	of, err := l.all(ctx, unit, unitFace)
	if err != nil {
		return State{}, err
	}
	svc, err := l.all(ctx, unit, svcFace)
	if err != nil {
		return State{}, err
	}
	s := State{
		Active: value[string](of, "ActiveState"), Sub: value[string](of, "SubState"), Load: value[string](of, "LoadState"),
		Enabled: value[string](of, "UnitFileState"),
		MainPID: int(value[uint32](svc, "MainPID")), Result: value[string](svc, "Result"),
		exitCode: value[int32](svc, "ExecMainCode"), exitStatus: value[int32](svc, "ExecMainStatus"),
	}
	if micro := value[uint64](of, "StateChangeTimestamp"); micro != 0 {
		s.Since = time.UnixMicro(int64(micro))
	}
	return s, nil
}

func (l *link) all(ctx context.Context, unit, face string) (map[string]dbus.Variant, error) {
	var found map[string]dbus.Variant
	err := l.conn.Object(service, unitPath(unit)).CallWithContext(ctx, propsFace+".GetAll", 0, face).Store(&found)
	return found, err
}

// value returns a property of the expected type, or that type's zero value.
func value[T any](of map[string]dbus.Variant, name string) T {
	v, _ := of[name].Value().(T)
	return v
}

// steps are the exit statuses with which systemd reports that it could not execute the
// program, systemd.exec(5), "Process Exit Codes".
var steps = map[int32]string{
	200: "changing to its directory", 203: "executing the program", 208: "its standard input", 209: "its standard output",
	210: "its root directory", 214: "its scheduling", 216: "its group", 217: "its user", 218: "its capabilities",
	219: "its cgroup", 222: "its standard error", 225: "its network namespace", 226: "its mount namespace",
	228: "its system call filter", 238: "its state directory", 240: "its logs directory",
}

// Ended reports whether the service's program has ended and will not be started again.
func (s State) Ended() bool { return s.Active == "failed" || s.Active == "inactive" }

// Why describes how the program ended, for the end of an error message; empty if it did
// not fail.
func (s State) Why() string {
	if s.Result == "" || s.Result == "success" {
		return ""
	}
	text := ": " + s.Result
	const exited, killed, dumped = 1, 2, 3 // CLD_EXITED and so on, <signal.h>
	switch s.exitCode {
	case exited:
		text += fmt.Sprintf(", status %d", s.exitStatus)
		if step := steps[s.exitStatus]; step != "" {
			text += " (" + step + ")"
		}
	case killed, dumped:
		text += ", " + syscall.Signal(s.exitStatus).String()
	}
	return text
}

// MainPID returns the pid of a service's main process, or 0.
func (b *Bus) MainPID(ctx context.Context, unit string) (int, error) {
	var pid uint32
	err := b.with(ctx, func(l *link) error {
		return l.conn.Object(service, unitPath(unit)).CallWithContext(ctx, propsFace+".Get", 0, svcFace, "MainPID").Store(&pid)
	})
	return int(pid), explain("read the state of", unit, err)
}

// Exists reports whether a unit is loaded: a transient one is until it has ended.
func (b *Bus) Exists(ctx context.Context, unit string) (bool, error) {
	units, err := b.List(ctx, unit)
	return len(units) > 0, err
}

// UnitStatus is a unit that systemd has loaded.
type UnitStatus struct{ Name, Description, Load, Active, Sub string }

// List returns the loaded units whose name matches a pattern of fnmatch(3).
func (b *Bus) List(ctx context.Context, pattern string) ([]UnitStatus, error) {
	var rows []struct {
		Name, Description, Load, Active, Sub, Following string
		Path                                            dbus.ObjectPath
		JobID                                           uint32
		JobType                                         string
		JobPath                                         dbus.ObjectPath
	}
	err := b.with(ctx, func(l *link) error {
		return l.call(ctx, "ListUnitsByPatterns", []any{[]string{}, []string{pattern}}, &rows)
	})
	var units []UnitStatus
	for _, r := range rows {
		units = append(units, UnitStatus{r.Name, r.Description, r.Load, r.Active, r.Sub})
	}
	return units, explain("list units", pattern, err)
}

// unitPath returns a unit's object path: any character except letters and digits is
// written as "_" and two hexadecimal digits (sd_bus_path_encode(3)).
func unitPath(unit string) dbus.ObjectPath {
	var b strings.Builder
	b.WriteString(string(root) + "/unit/")
	for i := range len(unit) {
		c := unit[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if letter || i > 0 && c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return dbus.ObjectPath(b.String())
}
