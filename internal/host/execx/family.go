package execx

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// family returns a process and what it has started, as far as that runs and its parents do
// (proc_pid_task(5), children).
func family(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		// Programs that start others from several threads are not among those that are run here.
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", all[i], all[i])) // it may have ended
		for word := range strings.FieldsSeq(string(data)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// terminate asks a process to end, and what it has started: git does not end its helper, which may
// wait for another host.
func terminate(pid int) error {
	var err error
	for i, member := range family(pid) {
		if e := syscall.Kill(member, syscall.SIGTERM); i == 0 {
			err = e
		}
	}
	return err
}
