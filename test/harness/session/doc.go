// Package session runs test scripts (txtar files that read like a terminal
// session; see testscript of rogpeppe/go-internal) with the real banger and
// bangerd. Every script has a home of its own, and when it has ended nothing of
// it may be left: no process, file, mount or loop device.
package session
