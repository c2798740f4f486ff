//go:build linux

// Package resolved gives running VMs names on the host, as far as root must: it makes a link with
// an address for questions about them, binds the sockets for that address, and has
// systemd-resolved send the questions for the domains of network.Zones there, and no others. What
// the answers are is not its matter (package names). Only the root helper uses it.
//
// It stores no state: the link is the record. It stays when the helper ends, as sockets are bound
// to it. Every call can be repeated.
package resolved
