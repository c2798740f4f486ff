// Package console keeps what guests write to their serial consoles within
// bounds, and shows it.
//
// The VMM writes to the log itself, in append mode, so that it needs no living
// daemon. While the daemon runs it gives the oldest bytes back to the file
// system by punching holes: offsets stay what they are, the writer need not
// know, and nothing at the end is lost.
package console
