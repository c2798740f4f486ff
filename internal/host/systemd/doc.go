// Package systemd communicates with systemd: with PID 1 over D-Bus, for units, and with
// the service manager that started this process, for readiness (sd_notify(3)). It does
// not depend on banger's use of units.
//
// It uses godbus instead of go-systemd: one connection instead of two, job results that
// cannot be missed and do not leak if a caller gives up, and calls with file
// descriptors and references, which go-systemd lacks. The interface is that of
// org.freedesktop.systemd1(5), systemd 247 or newer.
package systemd
