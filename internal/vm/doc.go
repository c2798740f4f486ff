// Package vm is the core of the daemon: the states of a VM and the legal moves between them, and the
// service that creates, starts, stops, deletes and recovers VMs in operations.
package vm
