// Package firecracker defines how Firecracker and its jailer are started, which versions of
// them can be used, and how to connect to a guest's vsock port. It starts nothing and links no
// HTTP client, so that the root helper can use it; package fcapi is for the API of a running
// Firecracker.
package firecracker
