// Package userns runs parts of this program as root of a namespace: where
// files of many owners are made (root file systems), an ordinary user is root
// there over the subordinate ids that belong to him (subuid(5)); root itself
// needs no mapping. In both cases the part has a mount and a pid namespace of
// its own, so that nothing it mounts or starts outlives it.
//
// A part is a Job in a process of its own: the program starts itself anew.
// Main therefore has to be the first thing that main (or TestMain) calls.
package userns
