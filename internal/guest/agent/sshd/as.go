package sshd

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// as calls f with the rights of a user: files that f opens are checked, and files that it creates are
// owned, as the user's. In the kernel each thread has its own credentials (credentials(7)); they are
// changed for a thread that ends with f. f must make its system calls in the goroutine that calls it.
func as(c *syscall.Credential, f func() error) error {
	if c == nil || os.Geteuid() != 0 {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := become(c)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// become gives the calling thread the credentials. Functions of package syscall
// would change every thread's.
func become(c *syscall.Credential) error {
	groups := append(c.Groups[:len(c.Groups):len(c.Groups)], 0) // has an address even if it is empty
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(c.Groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_SETRESGID, uintptr(c.Gid), uintptr(c.Gid), uintptr(c.Gid))
	}
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, uintptr(c.Uid), uintptr(c.Uid), uintptr(c.Uid))
	}
	if errno != 0 {
		return os.NewSyscallError("change the user", errno)
	}
	return nil
}
