// Package systemd talks to systemd: to PID 1 over D-Bus, for units, and to
// whatever started this process, for readiness (sd_notify(3)). It knows nothing
// of what banger does with units.
//
// It is written on godbus alone rather than on go-systemd: one connection
// instead of two, job results that cannot be missed or leak when a caller gives
// up, and descriptors and references, which go-systemd has no calls for.
// The interface is that of org.freedesktop.systemd1(5), systemd 247 or newer.
package systemd
