package systemd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// File renders the unit as a unit file, from the properties that StartTransient sends,
// so that the result of systemd-analyze(1) for the file holds for the unit. It returns
// an error if a property cannot be rendered. Standard output and error are left out.
func (u Unit) File() (string, error) {
	text := map[string]*strings.Builder{"Unit": {}, "Service": {}}
	for _, p := range u.properties() {
		section := "Service"
		if p.Name == "Description" || p.Name == "CollectMode" {
			section = "Unit"
		}
		name, values, err := p.lines()
		if err != nil {
			return "", err
		}
		for _, value := range values {
			fmt.Fprintf(text[section], "%s=%s\n", name, value)
		}
	}
	return "[Unit]\n" + text["Unit"].String() + "\n[Service]\n" + text["Service"].String(), nil
}

// lines returns a setting's name and the values of its lines in a unit file.
func (p property) lines() (name string, values []string, err error) {
	switch v := p.Value.Value().(type) {
	case string:
		return p.Name, []string{v}, nil
	case bool:
		return p.Name, []string{strconv.FormatBool(v)}, nil
	case int32:
		return p.Name, []string{strconv.Itoa(int(v))}, nil
	case uint32:
		return p.Name, []string{fmt.Sprintf("%#o", v)}, nil
	case uint64:
		name, value := p.number(v)
		return name, []string{value}, nil
	case []string:
		return p.Name, []string{strings.Join(v, " ")}, nil
	case allowed:
		if len(v.Names) == 0 {
			return p.Name, []string{"none"}, nil
		}
		return p.Name, []string{strings.Join(v.Names, " ")}, nil
	case []command:
		for _, c := range v {
			var words []string
			for _, arg := range c.Args {
				words = append(words, strconv.Quote(arg))
			}
			values = append(values, strings.Join(words, " "))
		}
		return p.Name, values, nil
	case []Device:
		for _, d := range v {
			values = append(values, d.Path+" "+d.Access)
		}
		return p.Name, values, nil
	case []temporary:
		for _, t := range v {
			values = append(values, t.Path+":"+t.Options)
		}
		return p.Name, values, nil
	case []bind:
		for _, b := range v {
			values = append(values, b.Source+":"+b.Destination)
		}
		return p.Name, values, nil
	case dbus.UnixFD:
		return p.Name, nil, nil
	}
	return "", nil, fmt.Errorf("cannot render %s of type %T", p.Name, p.Value.Value())
}

// number returns a setting whose value is a number on the bus.
func (p property) number(v uint64) (name, value string) {
	switch {
	case p.Name == "CapabilityBoundingSet":
		var names []string
		for c := range unix.CAP_LAST_CAP + 1 {
			if v&(1<<c) != 0 {
				names = append(names, capabilities[c])
			}
		}
		return p.Name, strings.Join(names, " ")
	case p.Name == "RestrictNamespaces":
		var names []string
		for _, n := range namespaces {
			if v&n.flag != 0 {
				names = append(names, n.name)
			}
		}
		if names == nil {
			return p.Name, "yes"
		}
		return p.Name, strings.Join(names, " ")
	case p.Name == "CPUQuotaPerSecUSec":
		return "CPUQuota", fmt.Sprintf("%d%%", v*100/uint64(time.Second.Microseconds()))
	case strings.HasSuffix(p.Name, "USec"): // TimeoutStopUSec, RestartUSec
		return strings.TrimSuffix(p.Name, "USec") + "Sec", fmt.Sprintf("%dus", v)
	case strings.HasSuffix(p.Name, "Soft"):
		return strings.TrimSuffix(p.Name, "Soft"), strconv.FormatUint(v, 10)
	}
	return p.Name, strconv.FormatUint(v, 10)
}

// namespaces are the flags of clone(2) and their names in systemd.exec(5).
var namespaces = []struct {
	flag uint64
	name string
}{
	{unix.CLONE_NEWCGROUP, "cgroup"}, {unix.CLONE_NEWIPC, "ipc"}, {unix.CLONE_NEWNET, "net"}, {unix.CLONE_NEWNS, "mnt"},
	{unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWUSER, "user"}, {unix.CLONE_NEWUTS, "uts"},
}

// capabilities are the names in the order of their numbers (capabilities(7)).
var capabilities = strings.Fields(`
CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP
CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER
CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE
CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP
CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
CAP_CHECKPOINT_RESTORE`)
