// Package migration reads the stream that QEMU writes when it migrates a machine, and splits it:
// the guest's memory goes to a sparse file, which another QEMU can map, and all else to a state
// stream, which that QEMU loads.
//
// QEMU's stream has a header, a configuration, sections of the memory, and those of the devices
// (docs/devel/migration in QEMU's source; migration/savevm.c and migration/ram.c of 7.2 and 10.0).
// A VMM that its guest has taken over writes it. So every size is bounded, every offset is
// checked, and what is not known is refused.
package migration
