// Package vm is the core: what a VM is, which moves its state allows, and the
// service that creates, starts, stops, deletes and recovers VMs by operations.
package vm
