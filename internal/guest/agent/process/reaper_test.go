package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// reapName is the first argument of the test's process that is an init.
const reapName = "banger-test-reaper"

// reapMain returns at once, unless this process was started to be an init.
func reapMain() {
	if os.Args[0] != reapName {
		return
	}
	if err := reapAsInit(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// reapAsInit starts commands that leave orphans behind, and checks that each has
// its own exit status and that nothing is left.
func reapAsInit() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("the pid is %d", os.Getpid())
	}
	r := NewReaper(true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go r.Run(ctx)
	var children []*Child
	for i := range 100 {
		script := fmt.Sprintf("(sleep 0.0%d; exit 99) & exit %d", i%10, i)
		c, err := r.Start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Env: []string{"PATH=/usr/bin:/bin"}})
		if err != nil {
			return err
		}
		children = append(children, c)
	}
	for i, c := range children {
		<-c.Done()
		if got := c.Status().ExitStatus(); got != i {
			return fmt.Errorf("command %d ended with %d", i, got)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		// Looks, and takes nothing from the reaper: kill(2) finds zombies too.
		if err := syscall.Kill(-1, 0); errors.Is(err, syscall.ESRCH) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("an orphan was not waited for")
		}
	}
}

// TestReaperAsInit runs the reaper as process 1 of a pid namespace.
func TestReaperAsInit(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{reapName}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("NOT TESTED: the reaper as init, because this host allows no user namespaces: %v", err)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
}
