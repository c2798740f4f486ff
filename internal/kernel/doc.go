// Package kernel keeps guest kernels: it takes them from the distribution's
// packages or from files, extracts the uncompressed kernel and exactly the
// modules that a guest needs to find its devices, and makes the initramfs that
// carries them and the agent.
package kernel
