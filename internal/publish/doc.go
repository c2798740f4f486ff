// Package publish serves the published ports of VMs. Each VM that has some gets a
// process of its own, the forwarder, which outlives the daemon as the VM does: so a
// connection stays open while the daemon is restarted, killed or updated. The
// forwarder is a client of the daemon like any other, and what it carries are
// sessions, which go on at the exact byte.
//
// The daemon binds the ports, so that it can say what is wrong with them, and hands
// them over by the forwarder's control socket.
package publish
