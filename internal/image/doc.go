// Package image is the cache of root file systems: ext4 files named by their
// content, built from the distribution's packages or from a tar archive, and
// the larger variants of them that disks of VMs are made from.
//
// What handles files of many owners runs as jobs of package userns, so Main
// has to be called first thing in main, and in TestMain of tests that build.
package image
