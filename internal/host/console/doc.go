// Package console bounds the logs of guests' serial consoles, and shows them.
//
// The VMM itself writes to the log, in append mode, so that it does not need a running
// daemon. While the daemon runs, it returns the oldest bytes to the file system by
// punching holes: offsets stay the same, the writer is not affected, and nothing at the
// end is lost.
package console
