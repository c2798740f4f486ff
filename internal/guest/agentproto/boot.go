// Package agentproto is the protocol between the host and the agent in the guest: the kernel
// command line that configures the agent, the handshake on its channel, and the frames and
// messages that follow.
package agentproto

import (
	"fmt"
	"net/netip"
	"strings"
)

// BaseCmdline is the beginning of every guest's kernel command line. The driver adds the
// console and the frequency of the clock, Boot the agent's part.
// Each argument is explained in the kernel's
// Documentation/admin-guide/kernel-parameters.txt.
//
//   - quiet: every byte on the emulated serial port costs an exit to the VMM.
//   - panic=-1: a panic reboots at once, which ends the VMM.
//   - reboot=t: by triple fault, the only reset that microvm has.
//   - random.trust_cpu=on: the random number generator is ready at once.
//   - tsc=reliable, no_timer_check: timers are not checked, which would take time.
//   - cryptomgr.notests: ciphers are not tested at every boot, which takes an
//     emulated guest 0.3 s (docs/adr/0010).
//   - i8042.*: no keyboard controller is probed.
const BaseCmdline = "quiet panic=-1 reboot=t random.trust_cpu=on tsc=reliable no_timer_check " +
	"cryptomgr.notests i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd"

// VsockArg is the argument that a driver adds to the command line if its machine has a vsock
// device instead of a virtio-serial port. The agent then need not detect the device, and
// knows how to power off: Firecracker has no power switch, it ends when the guest resets.
const VsockArg = "banger.vsock=1"

// PortName is the name of the agent's virtio-serial port, which the guest finds it by.
const PortName = "banger.agent"

// The ports of vsock.
const (
	AgentPort = 1024 // of the guest: the agent listens; the first that is not privileged
	ReadyPort = 1025 // of the host: the agent connects once, when it listens
)

// systemdArgs are the arguments for systemd and udev if the image's init runs
// (kernel-command-line(7), systemd.net-naming-scheme(7)):
//
//   - net.ifnames=0: the network interface is not renamed after the agent has
//     configured it.
//   - systemd.getty_auto=no: the serial console is a log, without a login.
//   - systemd.firstboot=no: nobody can answer its questions.
//
// systemd.hostname takes precedence over the image's /etc/hostname.
const systemdArgs = "net.ifnames=0 systemd.getty_auto=no systemd.firstboot=no"

// Boot is the agent's configuration on the kernel's command line.
type Boot struct {
	Hostname string
	Root     string       // block device, such as /dev/vda
	Address  netip.Prefix // of the guest on its first interface; invalid: no network
	Gateway  netip.Addr
	DNS      netip.Addr
	Search   string // domains that names are looked up in (resolv.conf(5)), with commas
	Init     string // path of the image's own init; empty: the agent stays init
	Vsock    bool   // the host is reached by vsock; the driver says so, not Cmdline
	Probe    bool   // print ProbeGreeting on the console and power off; if there is a Root, mount it first
}

// ProbeGreeting is the text that the agent writes to the console if booted as a probe.
const ProbeGreeting = "banger-probe-ok"

// areDomains reports whether text is a list of domains with commas: each of labels of at most
// 63 letters, digits, hyphens and underscores (RFC 1035, section 2.3.1, and underscores).
// This package has no regular expressions: to compile them costs each boot half a millisecond.
func areDomains(text string) bool {
	for domain := range strings.SplitSeq(text, ",") {
		for label := range strings.SplitSeq(domain, ".") {
			if !isLabel(label, "_-ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
				return false
			}
		}
	}
	return true
}

// isHostname reports whether name is one lower-case label that begins and ends with a letter or a digit.
func isHostname(name string) bool {
	return isLabel(name, "-") && name[0] != '-' && name[len(name)-1] != '-'
}

// isLabel reports whether label has 1 to 63 characters: lower-case letters, digits and those in more.
func isLabel(label, more string) bool {
	return len(label) >= 1 && len(label) <= 63 && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789"+more) == ""
}

// Cmdline formats b for the kernel's command line. It refuses values with white space or
// quotes.
func (b Boot) Cmdline() (string, error) {
	if b.Probe && b.Root == "" {
		return "banger.probe=1", nil
	}
	if b.Probe {
		return "banger.probe=1 banger.root=" + b.Root, nil
	}
	if !isHostname(b.Hostname) {
		return "", fmt.Errorf("host name %q is not a DNS label", b.Hostname)
	}
	for _, path := range []string{b.Root, b.Init} {
		if strings.ContainsAny(path, " \t\r\n\"'\\") {
			return "", fmt.Errorf("path %q cannot be used on a kernel command line", path)
		}
	}
	args := []string{"banger.hostname=" + b.Hostname, "banger.root=" + b.Root}
	if b.Address.IsValid() {
		args = append(args, "banger.address="+b.Address.String())
	}
	if b.Gateway.IsValid() {
		args = append(args, "banger.gateway="+b.Gateway.String())
	}
	if b.DNS.IsValid() {
		args = append(args, "banger.dns="+b.DNS.String())
	}
	if b.Search != "" {
		if !areDomains(b.Search) {
			return "", fmt.Errorf("%q is not a list of domains", b.Search)
		}
		args = append(args, "banger.search="+b.Search)
	}
	if b.Init != "" {
		args = append(args, "banger.init="+b.Init, systemdArgs, "systemd.hostname="+b.Hostname)
	}
	return strings.Join(args, " "), nil
}

// ParseBoot reads the values that Cmdline formatted from a whole kernel command line. It
// ignores other arguments.
func ParseBoot(cmdline string) (Boot, error) {
	var b Boot
	for _, field := range strings.Fields(cmdline) {
		key, value, _ := strings.Cut(field, "=")
		var err error
		switch key {
		case "banger.hostname":
			b.Hostname = value
			if !isHostname(value) {
				err = fmt.Errorf("not a DNS label")
			}
		case "banger.root":
			b.Root = value
		case "banger.init":
			b.Init = value
		case "banger.address":
			b.Address, err = netip.ParsePrefix(value)
		case "banger.gateway":
			b.Gateway, err = netip.ParseAddr(value)
		case "banger.dns":
			b.DNS, err = netip.ParseAddr(value)
		case "banger.search":
			b.Search = value
			if !areDomains(value) {
				err = fmt.Errorf("not a list of domains")
			}
		case "banger.vsock":
			b.Vsock = value == "1"
		case "banger.probe":
			b.Probe = value == "1"
		}
		if err != nil {
			return Boot{}, fmt.Errorf("bad %s on the kernel command line: %w", key, err)
		}
	}
	return b, nil
}
