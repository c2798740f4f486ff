// Package distro builds the root file system of the host's own distribution from its
// packages, with mmdebstrap. This runs as a job of package userns.
package distro
