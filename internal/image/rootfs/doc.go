// Package rootfs makes root file systems: it unpacks archives into a directory, and packs
// a directory into an ext4 file. The archives are not trusted: no name in them reaches
// anything outside the directory.
//
// Files of many owners need rights that the daemon does not have, so both run as jobs of
// package userns: a program that uses this package passes Jobs to userns.Main first.
package rootfs
