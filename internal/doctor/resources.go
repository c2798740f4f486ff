package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"banger/internal/driver"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

func resources() []Check {
	return []Check{
		{
			Name: "space for data", Why: "images, kernels and the disks of sandboxes are stored there",
			Fix: "banger image prune, and banger vm delete NAME for unneeded VMs",
			Run: func(_ context.Context, h Host) Finding { return space(h, h.Paths.Data, 4*gib, 1*gib) },
		},
		{
			Name: "space for cache", Why: "packages are stored there until an image is built",
			Fix: "free space on that file system",
			Run: func(_ context.Context, h Host) Finding { return space(h, h.Paths.Cache, 1*gib, 256*mib) },
		},
		{
			Name: "reflink", Run: reflink,
			Why: "if the file system shares blocks, a disk is a reflink; otherwise it is a qcow2 overlay, which also works well",
		},
		{
			Name: "name servers", Run: nameServers,
			Why: "in user mode guests have only IPv4, and use this machine's name servers",
			Fix: "add a nameserver with an IPv4 address to /etc/resolv.conf, such as 127.0.0.53 of systemd-resolved",
		},
		{
			Name: "memory", Run: memory,
			Why: "a sandbox uses the memory of its programs, up to its size",
			Fix: "start sandboxes with less, such as --memory 512M, or stop some",
		},
		{
			Name: "inotify", Run: inotify,
			Why: "logs are followed without polling",
			Fix: "sudo sysctl -w fs.inotify.max_user_instances=512",
		},
		{
			Name: "open files", Run: descriptors,
			Why: "each sandbox and each stream uses a few descriptors of the daemon",
			Fix: "ulimit -n 4096   (or raise nofile in /etc/security/limits.conf)",
		},
	}
}

// space checks the file system of path, which need not exist yet.
func space(h Host, path string, enough, little int64) Finding {
	at := path
	free, err := h.Free(at)
	for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
		free, err = h.Free(at)
	}
	found := fmt.Sprintf("%.1f GiB free at %s", float64(free)/gib, path)
	switch {
	case err != nil:
		return warn("cannot find out for " + path + ": " + err.Error())
	case h.ReadOnly != nil && h.ReadOnly(at):
		return Finding{Status: Fail, Found: "the file system of " + path + " is mounted read-only",
			Fix: "findmnt -T " + at + "   shows it; or set BANGER_HOME to a directory you can write to"}
	case free < little:
		return fail(found)
	case free < enough:
		return warn(found)
	}
	return ok(found)
}

func nameServers(_ context.Context, h Host) Finding {
	if driver.ResolversWithoutIPv4(h.ReadFile) {
		return warn("only IPv6 addresses: names do not resolve in guests")
	}
	return ok("guests can use them")
}

func reflink(ctx context.Context, h Host) Finding {
	switch {
	case h.Reflink == nil:
		return ok("not checked without a daemon")
	case h.Reflink(ctx) != nil:
		return ok("not supported here: disks are qcow2 overlays")
	}
	return ok("supported")
}

func memory(_ context.Context, h Host) Finding {
	data, err := h.ReadFile("/proc/meminfo")
	if err != nil {
		return warn("cannot find out: " + err.Error())
	}
	available := meminfo(data, "MemAvailable:")
	found := fmt.Sprintf("%d MiB available", available/mib)
	if available < 768*mib {
		return warn(found)
	}
	return ok(found)
}

// meminfo reads one value of /proc/meminfo (proc(5)), which is in KiB.
func meminfo(data []byte, key string) int64 {
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

func inotify(_ context.Context, h Host) Finding {
	data, err := h.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return warn("cannot find out: " + err.Error())
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || n < 64 {
		return warn("a user may have " + strings.TrimSpace(string(data)) + " instances")
	}
	return ok(fmt.Sprintf("a user may have %d instances", n))
}

func descriptors(_ context.Context, h Host) Finding {
	n, err := h.OpenFiles()
	switch {
	case err != nil:
		return warn("cannot find out: " + err.Error())
	case n < 1024:
		return warn(fmt.Sprintf("a process may have %d", n))
	case n > 1<<40: // RLIM_INFINITY
		return ok("no limit")
	}
	return ok(fmt.Sprintf("a process may have %d", n))
}
