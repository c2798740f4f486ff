package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// cagedEnv tells this program that it is the first process of a cage, and which
// directory, besides those of tests, is writable there.
const cagedEnv = "BANGER_MUTATION_CAGED"

// cage returns the command that runs a program in a sandbox, as mutants may signal or
// remove the wrong things. As root it is in its own process namespace, whose end ends
// all its processes, with a root file system that is read-only except for the
// directories of tests. An ordinary user's mutants have that user's rights.
func cage(ctx context.Context, program string, args ...string) *exec.Cmd {
	if os.Getuid() != 0 {
		return exec.CommandContext(ctx, program, args...)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{program}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// caged returns at once, unless this process is the first one of a cage: then it runs
// the program in its arguments, and exits.
func caged() {
	results := os.Getenv(cagedEnv)
	if results == "" || os.Getpid() != 1 {
		return
	}
	os.Unsetenv(cagedEnv)
	err := mountCage(results)
	code := 1
	if err == nil {
		code, err = runFirst(os.Args[1], os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutation: the cage:", err)
	}
	os.Exit(code)
}

// mountCage mounts the cage's /proc and makes the root file system read-only, except
// for what tests and the compiler write.
func mountCage(results string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return err
	}
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return err
	}
	for _, dir := range []string{os.TempDir(), "/var/tmp", "/run", strings.TrimSpace(string(cache)), results} {
		err = errors.Join(err, syscall.Mount(dir, dir, "", syscall.MS_BIND|syscall.MS_REC, ""))
	}
	return errors.Join(err, syscall.Mount("/", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
}

// runFirst runs a program as a first process: it also reaps orphans.
func runFirst(program string, args []string) (int, error) {
	p, err := os.StartProcess(program, args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 1, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 1, err
		}
		if pid == p.Pid {
			return status.ExitStatus(), nil
		}
	}
}
