// Package image is the cache of root file systems: ext4 files named by their content,
// built from the distribution's packages or imported from archives and registries, and
// larger variants of them that disks of VMs are made from.
//
// Work on files of many owners runs as jobs of package userns, so Main has to be called
// first in main, and in TestMain of tests that build images.
package image
