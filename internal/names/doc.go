// Package names answers DNS questions about VMs: in system mode NAME.vm and NAME.banger are the
// address of a running VM. The root helper binds the sockets and has the host's resolver send the
// questions (package resolved); what is answered is read from the daemon's records for each
// question, so that a start, a stop and a new name count at once.
package names
