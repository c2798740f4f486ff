// Package userns runs parts of this program as root of a namespace, for work on files
// of many owners (root file systems): an ordinary user is root there over its
// subordinate ids (subuid(5)); root itself needs no mapping. In both cases the part has
// its own mount and pid namespaces, so that its mounts and processes end with it.
//
// A part is a Job in a separate process: the program executes itself again. So Main has
// to be the first call in main (or TestMain).
package userns
