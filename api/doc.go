// Package api holds the types that banger's programs exchange: the daemon's
// HTTP requests and answers, the progress of long operations, and errors. It
// imports the standard library only. openapi.yaml beside this file describes
// the same interface; a test compares the two.
package api

// Version is the version of the HTTP interface and of every --json output, which has it in
// the field "format". It grows if a field changes its meaning or is removed; new fields do
// not change it.
const Version = 1
