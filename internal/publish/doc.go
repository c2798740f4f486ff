// Package publish serves the published ports of VMs. Each VM with published ports has its own
// process, the forwarder, which outlives the daemon as the VM does: so a
// connection stays open while the daemon is restarted, killed or updated. The
// forwarder is a client of the daemon like any other, and what it carries are
// sessions, which continue at the exact byte.
//
// The daemon binds the ports, so that it can report what is wrong with them, and passes them to the
// forwarder through its control socket.
package publish
