// Package gitrepo works on the repository, or the plain folder, of a workspace with the git
// program of this host, as its user: what ships into a guest, snapshots, and the fresh
// repository that a guest gets.
//
// The user's index, stash, HEAD, branches, config and work tree are never written. What is
// written are objects, and references below refs/banger. A snapshot works on a copy of the
// index, so that it neither needs nor takes index.lock.
package gitrepo
