// Package forward is what both ends of a forwarded port have in common: what
// people write for one, listening for it, and moving the bytes or datagrams of a
// connection to and from the streams of a session.
package forward
