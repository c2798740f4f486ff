// Package vm is the core of the daemon: the service that creates, starts, stops, changes, deletes and
// recovers VMs in operations. It has the plans of these; what they are made of is in the packages below:
//
//   - records: the table of VMs, with their records and claims
//   - instance, machines: the VMMs that run, and how they are found
//   - disks, ports, access: disks, published ports, and what clients reach in guests
//   - reconcile: what an earlier daemon and the host have left
package vm
