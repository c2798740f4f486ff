// Package e2e holds test sessions of the real programs with real guests: what
// `make build` makes, QEMU, the distribution's kernel and an image made of its
// packages. Guests run on KVM where it works, else emulated; no test depends on
// which.
package e2e
