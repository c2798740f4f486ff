// Package forward is the common part of both ends of a forwarded port: parsing its notation,
// listening for connections, and copying the bytes or datagrams of a connection to and from the
// streams of a session.
package forward
