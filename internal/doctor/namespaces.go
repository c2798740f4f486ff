package doctor

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
)

func namespaces() []Check {
	return []Check{
		{
			Name: "uidmap", Run: uidmap,
			Why: "an ordinary user builds images whose files belong to many users",
			Fix: "sudo apt-get install uidmap",
		},
		{
			Name: "subordinate ids", Run: subordinate,
			Why: "the users of an image become subordinate ids of yours while it is built (subuid(5))",
			Fix: "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER",
		},
		{
			Name: "user namespaces", Run: userNamespaces,
			Why: "images are built inside a user namespace, so that no root is needed",
		},
	}
}

func uidmap(ctx context.Context, h Host) Finding {
	if h.UID == 0 {
		return ok("not needed by root")
	}
	return tools("uidmap", "", "newuidmap", "newgidmap").Run(ctx, h)
}

// wantIDs is the number of ids that an image needs: Debian's nobody is 65534.
const wantIDs = 65536

func subordinate(_ context.Context, h Host) Finding {
	if h.UID == 0 {
		return ok("not needed by root")
	}
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		data, err := h.ReadFile(file)
		if err != nil {
			return fail("cannot read " + file)
		}
		if n := granted(data, h.User, h.UID); n < wantIDs {
			return fail(fmt.Sprintf("%s grants %s %d ids, %d are needed", file, h.User, n, wantIDs))
		}
	}
	return ok("granted to " + h.User)
}

// granted returns the largest range of ids that a subuid or subgid file grants to a
// user, by name or number.
func granted(data []byte, user string, uid int) int {
	most := 0
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(fields) != 3 || fields[0] != user && fields[0] != strconv.Itoa(uid) {
			continue
		}
		if n, err := strconv.Atoi(fields[2]); err == nil {
			most = max(most, n)
		}
	}
	return most
}

// userNamespaces reads the settings that prevent ordinary users from making namespaces.
// A missing file prevents nothing.
func userNamespaces(_ context.Context, h Host) Finding {
	if h.UID == 0 {
		return ok("not needed by root")
	}
	for _, s := range []struct{ file, bad, fix string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		// Ubuntu 23.10 and newer: programs without their own profile get namespaces
		// without capabilities.
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		data, err := h.ReadFile(s.file)
		if err != nil || strings.TrimSpace(string(data)) != s.bad {
			continue
		}
		return Finding{Status: Fail, Found: "forbidden by " + s.file, Fix: s.fix}
	}
	return ok("allowed")
}
