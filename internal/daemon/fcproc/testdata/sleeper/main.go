// Command sleeper stands for a VMM in tests: it runs in an empty chroot under
// any name, and ends with the test that holds its standard input. With the argument
// first-thread-ends its first thread ends at once, and another waits.
package main

import (
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

func init() { runtime.LockOSThread() } // main is the first thread

func main() {
	if len(os.Args) < 2 || os.Args[1] != "first-thread-ends" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	started := make(chan bool)
	go func() {
		close(started)
		var b [1]byte
		_, _, _ = syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&b)), 1)
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}()
	<-started
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
}
