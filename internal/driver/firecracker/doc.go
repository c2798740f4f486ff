// Package firecracker knows how Firecracker and its jailer are started, which
// versions of them are fit for it, and how a guest's vsock port is reached. It
// starts nothing and links no HTTP client, so that the root helper can use it;
// the API of a running Firecracker is package fcapi's.
package firecracker
