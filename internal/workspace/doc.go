// Package workspace connects a work tree of this host with its VM: which VM is the tree's, what
// was sent to it, and what the guest has changed since. The work on the host is done by the git
// program as the user; the daemons have no part in it.
package workspace
