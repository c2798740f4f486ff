// Package system runs the sessions of packages e2e and script against the banger
// that is installed on a machine for system mode: what holds in user mode has to
// hold there. The lab host is that machine.
package system
