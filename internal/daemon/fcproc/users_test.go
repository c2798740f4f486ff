package fcproc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// TestUsers: a process is a VM's user's by its real user id, from the first of the range
// on and below the last; whose it is, its unit's cgroup says.
func TestUsers(t *testing.T) {
	h := Host{Proc: t.TempDir()}
	enter := func(pid int, files map[string]string) {
		dir := filepath.Join(h.Proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	of := func(uid uint32, cgroup string) map[string]string {
		return map[string]string{
			"status": fmt.Sprintf("Name:\tx\nUid:\t%d\t7\t7\t7\nGid:\t200\t200\t200\t200\n", uid),
			"comm":   "a name\n", "cgroup": "0::" + cgroup + "\n",
		}
	}
	enter(10, of(99, Cgroup(vm)))
	enter(11, of(100, Cgroup(vm)))
	enter(12, of(199, "/user.slice"))
	enter(13, of(200, Cgroup(vm)))
	enter(14, map[string]string{"status": of(150, "")["status"], "comm": "firecracker\n"}) // no cgroup
	enter(15, of(150, ""))                                                                 // a bad one
	enter(16, map[string]string{"status": of(150, "")["status"]})                          // ended since
	enter(17, map[string]string{"comm": "x"})
	enter(18, map[string]string{"status": "Uid:\n", "comm": "x"})
	enter(19, map[string]string{"status": "Uid:\t-150\n", "comm": "x"})
	enter(20, map[string]string{"status": "Uid:\t150150150150\n", "comm": "x"})
	for _, name := range []string{"self", "-11", "0"} {
		if err := os.Symlink("11", filepath.Join(h.Proc, name)); err != nil {
			t.Fatal(err)
		}
	}
	users, err := h.Users(t.Context(), 100, 200)
	slices.SortFunc(users, func(a, b User) int { return a.PID - b.PID })
	want := []User{{11, "a name", 100, vm}, {12, "a name", 199, ""}, {14, "firecracker", 150, ""}, {15, "a name", 150, ""}}
	if err != nil || !slices.Equal(users, want) {
		t.Errorf("%+v, %v", users, err)
	}
	if users, err := (Host{Proc: filepath.Join(h.Proc, "absent")}).Users(t.Context(), 0, 200); err == nil {
		t.Errorf("no /proc: %v", users)
	}
}
