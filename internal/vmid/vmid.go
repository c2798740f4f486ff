// Package vmid defines the form of VM ids, and the names of the objects that the host's
// kernel and systemd hold for a VM in system mode. Every such name contains the id, so that
// the host itself records which VM an object belongs to.
package vmid

import (
	"regexp"
	"strings"
)

// pattern is the only definition of a valid id.
var pattern = regexp.MustCompile(`^[0-9a-f]{12}$`)

// Valid reports whether text is a valid id of a VM: 12 lower-case hexadecimal digits.
func Valid(text string) bool { return pattern.MatchString(text) }

// Length is the number of digits of an id.
const Length = 12

// Digit reports whether c is a digit of an id.
func Digit(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// Slice is the systemd slice of all VMs' units.
const Slice = "banger.slice"

// The name of each kind of object is a prefix, the id, and a suffix.
const (
	unitPrefix, unitSuffix = "banger-vm-", ".service"
	devicePrefix           = "banger-"
	netnsPrefix            = "banger-"
	linkPrefix             = "bv"
)

// LinkPattern matches the host's end of every VM's link, in the syntax of nft(8).
const LinkPattern = linkPrefix + "*"

// Unit returns the name of the transient systemd unit that runs the VM's VMM.
func Unit(id string) string { return unitPrefix + id + unitSuffix }

// Device returns the name of the VM's device-mapper device, and the tag of its loop devices.
func Device(id string) string { return devicePrefix + id }

// Netns returns the name of the VM's network namespace, a file in /run/netns (ip-netns(8)).
func Netns(id string) string { return netnsPrefix + id }

// Link returns the name of the host's end of the VM's network link: 14 characters of the 15
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
