// Package kernel stores guest kernels: it gets them from the distribution's packages or
// from files, extracts the uncompressed kernel and the modules that a guest needs for
// its devices, and makes the initramfs with these modules and the agent.
package kernel
