// Package vmid is the one place that knows what a VM's id looks like, and what
// the things are called that the host's kernel and systemd hold for a VM in
// system mode. Every such name carries the id, so that the host itself is the
// record of what belongs to whom.
package vmid

import (
	"regexp"
	"strings"
)

// pattern is the one regular expression that decides what is an id.
var pattern = regexp.MustCompile(`^[0-9a-f]{12}$`)

// Valid tells whether text is a VM's id: 12 lower-case hexadecimal digits.
func Valid(text string) bool { return pattern.MatchString(text) }

// Length is how many digits an id has.
const Length = 12

// Digit tells whether c can be in an id.
func Digit(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// Slice is the systemd slice that all VMs' units are in.
const Slice = "banger.slice"

// The name of each kind of object is a prefix, the id, and a suffix.
const (
	unitPrefix, unitSuffix = "banger-vm-", ".service"
	devicePrefix           = "banger-"
	netnsPrefix            = "banger-"
	linkPrefix             = "bv"
)

// LinkPattern matches the host's end of every VM's link, as nft(8) writes it.
const LinkPattern = linkPrefix + "*"

// Unit names the transient systemd unit that runs the VM's VMM.
func Unit(id string) string { return unitPrefix + id + unitSuffix }

// Device names the VM's device-mapper device, and tags its loop devices.
func Device(id string) string { return devicePrefix + id }

// Netns names the VM's network namespace, a file in /run/netns (ip-netns(8)).
func Netns(id string) string { return netnsPrefix + id }

// Link names the host's end of the VM's network link: 14 characters, of the 15
// that the kernel allows (IFNAMSIZ, netdevice(7)).
func Link(id string) string { return linkPrefix + id }

// FromUnit returns the id in a unit's name.
func FromUnit(name string) (id string, ok bool) { return between(name, unitPrefix, unitSuffix) }

// FromDevice returns the id in a device-mapper device's name.
func FromDevice(name string) (id string, ok bool) { return between(name, devicePrefix, "") }

// FromNetns returns the id in a network namespace's name.
func FromNetns(name string) (id string, ok bool) { return between(name, netnsPrefix, "") }

// FromLink returns the id in an interface's name.
func FromLink(name string) (id string, ok bool) { return between(name, linkPrefix, "") }

func between(name, prefix, suffix string) (string, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return "", false
	}
	id, ok := strings.CutSuffix(rest, suffix)
	return id, ok && Valid(id)
}
